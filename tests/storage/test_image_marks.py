"""What volunteers are shown of an image file: its pixels to the bit, and nothing else that it says."""

import io
import struct
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from alservice.errors import BadImage
from alservice.storage.images import decode, encode_jpeg, encode_png, for_volunteers
from tests.support.shared import shared_data

SECRET = b"GPS 51.5N 0.1W of somebody"
EXIF = Image.Exif()
EXIF[0x010E] = SECRET.decode()


def noise(mode: str = "RGB", side: int = 24) -> Image.Image:
    """Return a picture of chance."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """Return an image as bytes of a format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def texts() -> PngImagePlugin.PngInfo:
    """Return the text chunks of a PNG."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", SECRET.decode())
    info.add_itxt("Where", SECRET.decode(), zip=False)
    return info


def after_the_pixels(data: bytes) -> bytes:
    """Return a PNG whose last chunk of pixels goes on after they have ended."""
    start = data.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", data, start)
    body = data[start + 8 : start + 8 + length]
    return data[:start] + chunk(b"IDAT", body + SECRET) + chunk(b"IDAT", SECRET) + data[start + 12 + length :]


JPEG = encoded(noise(), "JPEG", quality=95)
PNG = encoded(noise(), "PNG")
GIF = encoded(noise("P"), "GIF")
SAYING_MORE = {
    "jpeg exif": encoded(noise(), "JPEG", quality=95, exif=EXIF),
    "jpeg comment": encoded(noise(), "JPEG", quality=95, comment=SECRET),
    "jpeg profile": encoded(noise(), "JPEG", quality=95, icc_profile=SECRET),
    "jpeg maker's segment": JPEG[:2] + b"\xff\xec" + struct.pack(">H", len(SECRET) + 2) + SECRET + JPEG[2:],
    "jpeg trailing": JPEG + SECRET,
    "jpeg two pictures": JPEG + encoded(noise(), "JPEG", comment=SECRET),
    "jpeg progressive": encoded(noise(), "JPEG", quality=95, progressive=True, exif=EXIF),
    "jpeg restarts": encoded(noise(), "JPEG", quality=95, restart_marker_blocks=1, exif=EXIF),
    "jpeg grey": encoded(noise("L"), "JPEG", quality=95, exif=EXIF),
    "png exif": encoded(noise(), "PNG", exif=EXIF),
    "png texts": encoded(noise(), "PNG", pnginfo=texts()),
    "png profile": encoded(noise(), "PNG", icc_profile=SECRET),
    "png private chunk": PNG[:33] + chunk(b"prVt", SECRET) + PNG[33:],
    "png trailing": PNG + SECRET,
    "png inside the pixels": after_the_pixels(PNG),
    "png palette": encoded(noise("P"), "PNG", pnginfo=texts()),
    "gif comment": encoded(noise("P"), "GIF", comment=SECRET),
    "gif trailing": GIF + SECRET,
}


@pytest.mark.parametrize("name", SAYING_MORE)
def test_nothing_but_pixels_is_shown(name: str):
    """Kind: what a file says beside its picture is published with it. Places, names, previews, bytes after the end."""
    data = SAYING_MORE[name]
    shown = for_volunteers(data)
    assert SECRET not in shown
    assert zlib.compress(SECRET) not in shown
    assert len(shown) < len(data)
    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in (data, shown))
    assert np.array_equal(before, after), "pixels are the same, to the bit"
    opened = Image.open(io.BytesIO(shown))
    assert not opened.getexif()
    assert not {"comment", "icc_profile", "Author", "Where", "exif"} & set(opened.info)
    assert for_volunteers(shown) == shown, "what is shown says nothing more"


def test_published_galaxies_keep_their_pixels():
    """Of real files of a survey, of which volunteers were shown each."""
    rows = pq.ParquetFile(shared_data() / "gz2_hart16_600_424.parquet").iter_batches(40, columns=["jpeg"])
    for cell in next(rows).column(0):
        data = cell.as_py()
        before, after = (np.asarray(Image.open(io.BytesIO(one))) for one in (data, for_volunteers(data)))
        assert np.array_equal(before, after)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [2, 3, 6, 8])
def test_an_image_that_asks_to_be_turned_is_refused(form: str, orientation: int):
    """Without its mark it would be seen otherwise than it is meant, and spirals of a mirror image wind the other way."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    with pytest.raises(BadImage, match=f"turn it .orientation {orientation}."):
        for_volunteers(encoded(noise(), form, exif=exif))
    exif[0x0112] = 1
    assert not Image.open(io.BytesIO(for_volunteers(encoded(noise(), form, exif=exif)))).getexif()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("data", [encode_jpeg(np.zeros((3, 64, 64), np.uint8)), PNG, GIF])
def test_a_file_cut_short_is_refused(data: bytes, share: float):
    """It has no end to find."""
    with pytest.raises(BadImage, match="truncated or broken"):
        for_volunteers(data[: int(len(data) * share)])


def test_pixels_that_unfold_to_more_than_they_are_cost_no_time():
    """Kind: a small file that unfolds. A megabyte of a PNG inflates to a gigabyte; so far nobody looks."""
    header = struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)
    bomb = zlib.compress(bytes(200 << 20), 9)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
    with pytest.raises(BadImage, match="unfolds to more than its pixels"):
        for_volunteers(data)
    header = struct.pack(">IIBBBBB", 1 << 30, 1 << 30, 8, 0, 0, 0, 0)
    with pytest.raises(BadImage, match="too many pixels"):
        for_volunteers(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([JPEG, PNG, GIF, *SAYING_MORE.values(), encode_png(np.zeros((1, 4, 4), np.uint8))]),
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
)
def test_no_bytes_cause_another_error_or_other_pixels(data: bytes, edits: list[tuple[int, int]]):
    """However bytes are damaged: a refusal, or what decodes as the original does, if that decodes at all."""
    damaged = bytearray(data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    try:
        shown = for_volunteers(bytes(damaged))
        before = decode(bytes(damaged), size_px=24, channels=3)
    except BadImage:
        return
    assert np.array_equal(before, decode(shown, size_px=24, channels=3))
