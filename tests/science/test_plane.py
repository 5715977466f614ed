"""The plane of a map: its square, its tiles, and what a lasso holds."""

from __future__ import annotations

import numpy as np
import pytest

from alservice.errors import BadInput
from alservice.science.plane import MAX_VERTICES, MAX_ZOOM, Frame, Tile, polygon_of, within


def test_a_frame_has_its_points_in_the_middle_and_keeps_their_shape() -> None:
    """The longer side fills the square but for a margin; what is outside comes to the edge, below 1."""
    points = np.array([[-10.0, 5.0], [30.0, 15.0], [10.0, 10.0]])
    frame = Frame.around(points)
    unit = frame.unit(points)
    assert unit.dtype == np.float32
    assert np.allclose(unit, [[0.03, 0.5 - 0.1175], [0.97, 0.5 + 0.1175], [0.5, 0.5]], atol=1e-6)
    edge = frame.unit(np.array([[1e9, -1e9]]))
    assert 0.999 < edge[0, 0] < 1
    assert edge[0, 1] == 0
    assert np.allclose(Frame.around(np.zeros((3, 2))).unit(np.zeros((1, 2))), 0.5)


def test_tiles_cover_the_square_once() -> None:
    """Those of a level share their sides; what is no tile is refused by name."""
    boxes = [Tile(z=2, x=x, y=1).box for x in range(4)]
    assert [box[:2] for box in boxes] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]
    assert {box[2:] for box in boxes} == {(0.25, 0.5)}
    for z, x, y in ((-1, 0, 0), (MAX_ZOOM + 1, 0, 0), (0, 1, 0), (3, 0, 8), (3, -1, 0)):
        with pytest.raises(BadInput, match="tiles"):
            Tile(z=z, x=x, y=y)


def test_a_lasso_holds_what_a_ray_from_each_point_says() -> None:
    """Also one that crosses itself, whose corners are at a point's height, and that lies flat."""
    rng = np.random.default_rng(3)
    points = np.concatenate([rng.uniform(size=(500, 2)), [[0.5, 0.25], [0.2, 0.5]]]).astype(np.float32)
    for corners in (rng.uniform(size=(9, 2)), np.array([[0.1, 0.25], [0.9, 0.25], [0.9, 0.75], [0.1, 0.75]])):
        wanted = []
        for x, y in points.astype(float):
            crossings = 0
            for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
                if (y0 <= y) != (y1 <= y):
                    crossings += x < x0 + (y - y0) * (x1 - x0) / (y1 - y0)
            wanted.append(crossings % 2 == 1)
        assert within(points, corners).tolist() == wanted
        assert 0 < sum(wanted) < len(points)
    assert not within(points, np.array([[0.1, 0.5], [0.9, 0.5], [0.4, 0.5]])).any()
    assert within(np.empty((0, 2)), np.eye(3, 2)).shape == (0,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not 0"),
        ("0,0;1,1", "not 2"),
        (";".join(["0.5,0.5"] * 1000), f"not more than {MAX_VERTICES}"),
        ("0,0;1,1;1", "written"),
        ("0,0;1,1;1,0,0", "written"),
        ("0,0;1,1;a,b", "written"),
        ("0,0;1,1;nan,0", "unit square"),
        ("0,0;1,1;0,2", "unit square"),
    ],
)
def test_what_is_no_polygon_is_refused(text: str, says: str) -> None:
    """With what is wrong."""
    with pytest.raises(BadInput, match=says):
        polygon_of(text)


def test_a_polygon_is_read() -> None:
    """Corner by corner."""
    assert polygon_of("0,0;1,0.5;0.25,1").tolist() == [[0, 0], [1, 0.5], [0.25, 1]]
