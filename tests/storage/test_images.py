"""Image bytes: bounds, refusals, and what a decoded array holds."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alservice.errors import BadImage
from alservice.storage import images
from alservice.storage.images import check_decodable, decode, encode_jpeg, encode_png, for_volunteers, sniff
from tests.support.shared import shared_data


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """Return an image as bytes of a format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return random pixels (C, H, W)."""
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width), dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds almost nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


GREY = Image.new("L", (8, 8), 7)
JPEG = encoded(Image.new("RGB", (8, 8)), "JPEG")
PNG = encoded(GREY, "PNG")
GIF = encoded(GREY, "GIF")


@pytest.mark.parametrize(("data", "media_type"), [(JPEG, "image/jpeg"), (PNG, "image/png"), (GIF, "image/gif")])
def test_types_are_told_by_their_first_bytes(data: bytes, media_type: str):
    """The three types Zooniverse shows and we read are recognised, and each decodes."""
    assert sniff(data) == media_type
    assert decode(data, size_px=8, channels=1).shape == (1, 8, 8)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"<svg/>", b"RIFF0000WEBP", b"II*\0", b"P6 1 1 255 "])
def test_other_bytes_are_not_images(data: bytes):
    """Text, other formats and nothing at all are refused by name."""
    for call in (sniff, for_volunteers, lambda data: decode(data, size_px=8, channels=3)):
        with pytest.raises(BadImage, match="not an image"):
            call(data)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_image_comes_back(channels: int):
    """At its own size an encoded array decodes to itself."""
    pixels = noise(16, 16, channels)
    assert np.array_equal(decode(encode_png(pixels), size_px=16, channels=channels), pixels)


def test_grey_is_the_mean_over_channels():
    """Three channels become their mean, rounded; not luma."""
    pixels = noise(16, 16)
    grey = decode(encode_png(pixels), size_px=16, channels=1)
    assert np.abs(grey[0] - pixels.mean(axis=0)).max() <= 0.5 + 1e-9


def test_a_grey_image_fills_three_channels():
    """One channel is repeated when three are asked for."""
    pixels = noise(16, 16, 1)
    assert np.array_equal(decode(encode_png(pixels), size_px=16, channels=3), np.repeat(pixels, 3, axis=0))


@pytest.mark.parametrize(("height", "width"), [(20, 32), (32, 20), (21, 32)])
def test_the_centred_square_is_kept(height: int, width: int):
    """A longer side loses equally at both ends; nothing is stretched."""
    pixels = noise(height, width)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[:, top : top + side, left : left + side]
    if (height - side) % 2 or (width - side) % 2:  # the centre lies between two pixels
        moved = pixels[:, :, left + 1 : left + 1 + side].astype(float)
        square = (square + moved) / 2
        assert np.abs(decode(encode_png(pixels), size_px=side, channels=3) - square).max() <= 1
    else:
        assert np.array_equal(decode(encode_png(pixels), size_px=side, channels=3), square)


def test_shrinking_averages():
    """Detail finer than a pixel is averaged away, not sampled."""
    checkers = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[np.newaxis]
    small = decode(encode_png(checkers), size_px=8, channels=1)
    assert np.abs(small.astype(float) - 127.5).max() < 3


@pytest.mark.parametrize("size_px", [16, 24, 48])
def test_scaled_jpeg_decoding_stays_close_to_full_decoding(size_px: int):
    """Decoding at reduced scale gives what decoding in full and shrinking gives, within a grey level or so."""
    y, x = np.indices((128, 128)) - 63.5
    galaxy = (255 * np.exp(-(x**2 + 2 * y**2) / 800)).astype(np.uint8)[np.newaxis]
    from_jpeg = decode(encode_jpeg(galaxy, quality=95), size_px=size_px, channels=1)
    from_png = decode(encode_png(galaxy), size_px=size_px, channels=1)
    assert np.sqrt(np.mean((from_jpeg.astype(float) - from_png) ** 2)) < 1.5


def test_real_galaxies_decode_the_same_in_any_order_and_thread():
    """Decoding depends on bytes alone: repeated, and in eight threads, it gives the same arrays."""
    rows = pq.ParquetFile(shared_data() / "gz2_hart16_600_424.parquet").iter_batches(60, columns=["jpeg"])
    originals = [for_volunteers(data.as_py()) for data in next(rows).column(0)]
    alone = [decode(data, size_px=80, channels=3) for data in originals]
    with ThreadPoolExecutor(8) as pool:
        threaded = list(pool.map(lambda data: decode(data, size_px=80, channels=3), originals))
    assert np.array_equal(alone, threaded)
    assert np.stack(alone).std() > 10
    assert alone[0].flags.c_contiguous


def by_pillow(monkeypatch: pytest.MonkeyPatch, data: bytes, size_px: int, channels: int) -> np.ndarray | str:
    """Return what Pillow alone makes of an image, or says of it."""
    with monkeypatch.context() as patch:
        patch.setattr(images, "_plain_jpeg", lambda *_: None)
        return read(data, size_px, channels)


def read(data: bytes, size_px: int, channels: int) -> np.ndarray | str:
    """Return the pixels of an image, or why there are none."""
    try:
        return decode(data, size_px=size_px, channels=channels)
    except BadImage as error:
        return error.message.partition(" at 0x")[0]


@pytest.mark.parametrize("side", [(424, 424), (425, 423), (100, 331), (17, 9)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_both_decoders_give_the_same_pixels(monkeypatch, side: tuple[int, int], mode: str):
    """Sizes, samplings, progressive or not, at every scale: which decoder read a JPEG cannot be told."""
    y, x = np.indices(side)
    pixels = np.stack([128 + 100 * np.sin(x / 9 + c) * np.cos(y / (7 + c)) for c in range(3)], axis=-1)
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    for sampling, progressive in [(0, False), (1, True), (2, False), (2, True)]:
        options = {"progressive": progressive, "quality": 85}
        data = encoded(image, "JPEG", **options, **({"subsampling": sampling} if mode == "RGB" else {}))
        for size_px in (1, 8, 30, 64, 128, 424):
            assert images._plain_jpeg(data, size_px, 10**6) is not None
            assert np.array_equal(decode(data, size_px=size_px, channels=3), by_pillow(monkeypatch, data, size_px, 3))


def test_both_decoders_agree_on_real_galaxies(monkeypatch):
    """The fast one takes them, and gives Pillow's pixels."""
    rows = pq.ParquetFile(shared_data() / "gz2_hart16_600_424.parquet").iter_batches(40, columns=["jpeg"])
    for data in next(rows).column(0).to_pylist():
        check_decodable(data)
        assert images._plain_jpeg(data, 128, 10**6) is not None
        assert np.array_equal(decode(data, size_px=128, channels=1), by_pillow(monkeypatch, data, 128, 1))


_SMALL = encoded(Image.fromarray(np.moveaxis(noise(40, 33), 0, -1)), "JPEG", quality=80)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(_SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, len(_SMALL)),
    st.sampled_from([1, 8, 33]),
)
def test_both_decoders_agree_on_damaged_files(edits: list[tuple[int, int]], cut: int, size_px: int):
    """Bytes changed and lost: the same pixels, or the same refusal, word by word."""
    damaged = bytearray(_SMALL)
    for place, value in edits:
        damaged[place] = value
    data = bytes(damaged[:cut] if cut > 20 else damaged)
    with pytest.MonkeyPatch.context() as patch:
        assert np.array_equal(read(data, size_px, 3), by_pillow(patch, data, size_px, 3))


def test_the_bounds_hold_on_the_fast_road():
    """A header that promises too much is refused before its pixels are; so is what only Pillow tells."""
    start = JPEG.index(b"\xff\xc0") + 5
    huge = JPEG[:start] + struct.pack(">HH", 60_000, 60_000) + JPEG[start + 4 :]
    for call in (check_decodable, lambda data: decode(data, size_px=8, channels=3)):
        with pytest.raises(BadImage, match="too many pixels"):
            call(huge)
        with pytest.raises(BadImage, match="CMYK"):
            call(encoded(Image.new("CMYK", (8, 8)), "JPEG"))
        with pytest.raises(BadImage, match="truncated"):
            call(JPEG[: len(JPEG) // 2])


@pytest.mark.parametrize("data", [JPEG, PNG, GIF])
def test_an_original_that_is_pixels_alone_is_what_volunteers_see(data: bytes):
    """The file itself, byte for byte."""
    assert for_volunteers(data) == data


def test_too_many_bytes_are_refused():
    """The limit on bytes is inclusive and comes before anything else."""
    for call in (for_volunteers, lambda data, **kw: decode(data, size_px=8, channels=3, **kw)):
        call(JPEG, max_bytes=len(JPEG))
        with pytest.raises(BadImage, match="too many bytes"):
            call(JPEG, max_bytes=len(JPEG) - 1)
    with pytest.raises(BadImage, match="1024001 is over the limit of 1024000"):
        for_volunteers(JPEG.ljust(1_024_001, b"\0"))


def test_too_many_pixels_are_refused():
    """The limit on pixels is inclusive."""
    decode(PNG, size_px=8, channels=1, max_pixels=64)
    with pytest.raises(BadImage, match="too many pixels"):
        decode(PNG, size_px=8, channels=1, max_pixels=63)


@pytest.mark.parametrize("side", [7_000, 12_000, 60_000])
@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_unread(side: int):
    """A small file that declares a huge image is refused from its header, whatever Pillow's own limit."""
    bomb = png_header(side, side)
    assert len(bomb) < 100
    with pytest.raises(BadImage, match="too many pixels"):
        decode(bomb, size_px=8, channels=3)


@pytest.mark.parametrize("data", [encode_jpeg(noise(64, 64)), encode_png(noise(64, 64))])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image_is_refused(data: bytes, share: float):
    """A file cut short never becomes an image with grey bands."""
    with pytest.raises(BadImage, match="truncated"):
        decode(data[: int(len(data) * share)], size_px=32, channels=3)


def test_a_png_with_changed_bytes_is_refused():
    """Pixels that fail their checksum are not used."""
    data = bytearray(encode_png(noise(64, 64)))
    data[len(data) // 2] ^= 1
    with pytest.raises(BadImage, match="broken"):
        decode(bytes(data), size_px=32, channels=3)


def test_what_pillow_warns_about_is_refused():
    """A corrupt EXIF block is an error even where warnings are ignored, and filters stay as they were."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 40
    exif[0x011A] = 72.0
    data = encoded(Image.new("RGB", (8, 8)), "JPEG", exif=exif)
    start = data.index(b"Exif\0\0") + 6
    corrupt = data[: start + 8] + b"\xff\xff" + data[start + 10 :]  # promises 65,535 EXIF entries
    decode(data, size_px=8, channels=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = list(warnings.filters)
        with pytest.raises(BadImage, match="broken"):
            decode(corrupt, size_px=8, channels=3)
        assert warnings.filters == before


@pytest.mark.parametrize(
    ("image", "named"),
    [
        (Image.new("RGBA", (8, 8), (1, 2, 3, 254)), "transparent"),
        (Image.new("LA", (8, 8), (1, 0)), "transparent"),
        (Image.new("I;16", (8, 8), 40_000), "I;16"),
    ],
)
def test_pixels_that_would_be_changed_are_refused(image: Image.Image, named: str):
    """Transparency and depths over 8 bits are named, not blended or clipped."""
    with pytest.raises(BadImage, match=named):
        decode(encoded(image, "PNG"), size_px=8, channels=3)


def test_cmyk_is_refused():
    """A print image has no red, green and blue."""
    with pytest.raises(BadImage, match="CMYK"):
        decode(encoded(Image.new("CMYK", (8, 8)), "JPEG"), size_px=8, channels=3)


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA"])
def test_opaque_modes_are_read(mode: str):
    """Palettes, bilevel images and opaque alpha lose nothing."""
    white = Image.new("RGBA", (8, 8), "white").convert(mode)
    assert (decode(encoded(white, "PNG"), size_px=8, channels=3) == 255).all()


@pytest.mark.parametrize("form", ["GIF", "PNG"])
def test_animations_are_refused(form: str):
    """No frame of an animation is taken for the galaxy."""
    frames = [Image.new("L", (8, 8), level) for level in (0, 255)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    with pytest.raises(BadImage, match="animated"):
        decode(data, size_px=8, channels=1)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([JPEG, PNG, GIF]), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255))))
def test_no_bytes_cause_another_error(data: bytes, edits: list[tuple[int, int]]):
    """However bytes are damaged, the result is an image of the right shape or `BadImage`."""
    damaged = bytearray(data)
    for place, value in edits:
        damaged[place % len(damaged)] = value
    try:
        image = decode(bytes(damaged), size_px=8, channels=3, max_pixels=1_000_000)
    except BadImage:
        return
    assert (image.shape, image.dtype) == ((3, 8, 8), np.uint8)


@pytest.mark.parametrize("encode", [encode_jpeg, encode_png])
def test_encoding_is_deterministic_and_checked(encode):
    """The same array gives the same bytes; what is not an image is refused."""
    assert encode(noise(9, 7)) == encode(noise(9, 7))
    for wrong in (noise(9, 7)[0], noise(9, 7, 2), noise(9, 7).astype(float)):
        with pytest.raises(BadImage, match="an image is uint8"):
            encode(wrong)
