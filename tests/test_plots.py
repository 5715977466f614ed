"""Plots as one kind of picture: the same marks as an element of a page, as an SVG file and as PNG."""

from __future__ import annotations

import io
import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape
from PIL import Image

from alservice import plots
from alservice.plots import Axis, Mark, Picture

SVG = "{http://www.w3.org/2000/svg}"


def picture(**changes: str) -> Picture:
    """Return a picture with a mark of every shape."""
    marks = (
        plots.rect(20, 10, 40, 30, "bar a"),
        plots.line(0, 60, 100, 60, "whisker b"),
        *plots.path([(0, 70), (50, 75), (100, 70)], "line c dashed"),
        plots.dot(80, 20, 8, "dot fail"),
        plots.text(5, 95, changes.pop("text", "cost $5 −1"), "label"),
    )
    return Picture(**{"title": "Test", "said": "one of each", **changes}, marks=marks, size=(100, 100))


def test_a_page_gets_an_element_that_its_policy_allows() -> None:
    """Kind: a style or script inside, which pages refuse, or an id that two pictures share; or a text as markup."""
    hostile = '<script>alert("1")</script>'
    text = str(escape(picture(said=hostile, text=hostile)))
    element = ET.fromstring(text)
    assert element.get("role") == "img"
    assert element.get("aria-label") == f"Test: {hostile}"
    assert element.findtext("text") == hostile
    assert {part.tag for part in element.iter()} == {"svg", "path", "circle", "text"}
    assert not {name for part in element.iter() for name in part.attrib} & {"style", "id"}


def test_a_file_stands_for_itself() -> None:
    """Name space, size, title, description, and white paper below everything."""
    root = ET.fromstring(picture().svg())
    assert (root.tag, root.get("width")) == (f"{SVG}svg", "100")
    assert [part.tag.removeprefix(SVG) for part in root][:4] == ["title", "desc", "rect", "path"]
    assert root.findtext(f"{SVG}desc") == "one of each"


def test_the_same_picture_gives_the_same_bytes() -> None:
    """No date and no random identifier gets in; both kinds have their names."""
    made = plots.files("test", picture())
    assert made == plots.files("test", picture())
    assert set(made) == {"test.svg", "test.png"}


def test_a_png_shows_the_same_marks() -> None:
    """Kind: upside down, or another colour. Twice the size, every mark where the SVG has it."""
    pixels = np.asarray(Image.open(io.BytesIO(picture().png())).convert("RGB"))
    assert pixels.shape == (200, 200, 3)

    def at(x: int, y: int) -> str:
        return "#{:02x}{:02x}{:02x}".format(*pixels[2 * y, 2 * x])

    assert at(40, 25) == plots.PALETTE["a"]
    assert at(50, 60) == plots.PALETTE["b"]
    assert at(80, 20) == plots.PALETTE["fail"]
    assert at(90, 90) == "#ffffff"
    assert (pixels[180:196, 10:120] < 128).any()


def test_the_service_loads_no_matplotlib() -> None:
    """Kind: 40 MiB in each process of the service for the PNG files of others."""
    program = "import sys, alservice.web.application; print('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"False\n"


@given(st.lists(st.integers(-(10**9), 10**9).map(lambda n: n / 1000), min_size=1, max_size=20))
def test_ticks_are_few_round_and_cover(values: list[float]) -> None:
    """Any values lie within the axis, whose marks are at most seven."""
    y = plots.vertical(values)
    assert y.low <= min(values)
    assert max(values) <= y.high
    assert 2 <= len(plots.ticks(y.low, y.high)) <= 7 or min(values) == max(values)


def test_no_value_is_named_beyond_its_axis() -> None:
    """Kind: ticks of an axis that are rounder than its ends stand above it, over the names of its colours."""
    y = plots.vertical([0.12, 0.312])
    heights = {mark.points[0][1] for mark in plots.frame(y, "") if mark.kind == "grid"}
    assert min(heights) >= plots.TOP
    assert max(heights) <= plots.HEIGHT - plots.BOTTOM


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_boxes_show_every_value(values: list[float]) -> None:
    """Kind: a value that is neither in the box, nor under its whiskers, nor a dot of its own."""
    y = Axis(low=0, high=1, start=100, end=0)
    marks = plots.box(50, 10, y, values, "a")
    low, high = marks[0], marks[1]
    beyond = [mark.points[0][1] for mark in marks if mark.shape == "dot"]
    reach = {point[1] for mark in (low, high) for point in mark.points}
    inside = [v for v in values if min(reach) <= y.at(v) <= max(reach)]
    assert len(inside) + len(beyond) >= len(values)
    assert all(not min(reach) < at < max(reach) for at in beyond)


def test_a_role_without_a_colour_is_ink() -> None:
    """The colour of a mark is its series', else its role's, else ink."""
    looks = [Mark("dot", kind, ((0, 0),)).look["fill"] for kind in ("dot b", "share live", "mean")]
    assert looks == [plots.PALETTE["b"], plots.SOFT, plots.INK]


@pytest.mark.parametrize(("place", "shift", "expected"), [(0, 0.0, plots.LEFT), (2, 0.5, plots.LEFT + 2.5 * 102.5)])
def test_slots_share_the_width(place: int, shift: float, expected: float) -> None:
    """Four places have a quarter of the axis each."""
    assert plots.Slots(names=["0", "1", "2", "3"]).at(place, shift) == pytest.approx(expected)
