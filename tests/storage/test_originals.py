"""Image files as people have them: what volunteers and the network are shown of each, and what is refused."""

import gzip
import io
import struct
import sys
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from alservice.constants import MAX_IMAGE_BYTES
from alservice.errors import BadConfig, BadImage
from alservice.science.stretch import PLAIN, PRESETS, stretched
from alservice.storage import fits as cutouts
from alservice.storage import originals
from alservice.storage.images import decode, for_volunteers, sniff
from alservice.storage.originals import Shown, shown

RNG = np.random.default_rng(0)
PIXELS = np.kron(RNG.integers(0, 256, (6, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
COLOUR = Image.fromarray(PIXELS)
FLUX = RNG.normal(0, 1, (3, 20, 24)).astype(np.float32) + 40 * np.exp(-np.hypot(*np.indices((20, 24)) - 8) / 3)
DEEP = np.kron(RNG.integers(0, 65536, (6, 8)), np.ones((4, 4))).astype(np.uint16)


def encoded(image: Image.Image, form: str, **options) -> bytes:
    """Return an image as bytes of a format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def fits_file(*parts: object) -> bytes:
    """Return a FITS file."""
    buffer = io.BytesIO()
    fits.HDUList(list(parts)).writeto(buffer)
    return buffer.getvalue()


def header(**cards: int) -> bytes:
    """Return a FITS header and nothing after it."""
    values = {"SIMPLE": "T", "BITPIX": -32, **cards}
    lines = [f"{name:<8}= {value:>20}" for name, value in values.items()]
    return "".join(line.ljust(80) for line in [*lines, "END"]).ljust(2880).encode()


def exif(orientation: int) -> Image.Exif:
    """Return EXIF that says how to turn an image."""
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def pixels(data: bytes) -> np.ndarray:
    """Return the pixels of a file as they are stored, (H, W) or (H, W, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image if image.mode == "L" else image.convert("RGB"))


AS_IT_IS = {
    "jpeg": encoded(COLOUR, "JPEG"),
    "grey jpeg": encoded(COLOUR.convert("L"), "JPEG"),
    "jpeg that says it is upright": encoded(COLOUR, "JPEG", exif=exif(1)),
    "png": encoded(COLOUR, "PNG"),
    "png with a palette": encoded(COLOUR.convert("P"), "PNG"),
    "png with nothing transparent": encoded(COLOUR.convert("RGBA"), "PNG"),
    "png that says it is upright": encoded(COLOUR, "PNG", exif=exif(1)),
    "gif": encoded(COLOUR.convert("P"), "GIF"),
    "broken jpeg": encoded(COLOUR, "JPEG")[:300],
}


@pytest.mark.parametrize("name", AS_IT_IS)
def test_what_can_be_shown_stays_as_it_is(name: str):
    """To the byte; whether it can be decoded is asked later."""
    assert shown(AS_IT_IS[name]) == Shown(AS_IT_IS[name], None)


HALF = np.where(np.indices((24, 32))[1] < 16, 0, 255).astype(np.uint8)
GREY = np.asarray(COLOUR.convert("L"))
CMYK = COLOUR.convert("CMYK")
MADE = {
    "16-bit png": (encoded(Image.fromarray(DEEP), "PNG"), "PNG", np.round(DEEP / 257)),
    "16-bit tiff": (encoded(Image.fromarray(DEEP), "TIFF"), "TIFF", np.round(DEEP / 257)),
    "grey and alpha": (
        encoded(Image.merge("LA", (COLOUR.convert("L"), Image.fromarray(HALF))), "PNG"),
        "PNG",
        np.where(HALF == 255, GREY, 0),
    ),
    "colour and alpha": (
        encoded(Image.merge("RGBA", (*COLOUR.split(), Image.fromarray(HALF))), "PNG"),
        "PNG",
        np.where(HALF[..., None] == 255, PIXELS, 0),
    ),
    "transparent colour": (encoded(Image.fromarray(GREY), "PNG", transparency=int(GREY[0, 0])), "PNG", None),
    "tiff": (encoded(COLOUR, "TIFF", compression="tiff_lzw"), "TIFF", PIXELS),
    "tiff with a palette": (encoded(COLOUR.quantize(256), "TIFF"), "TIFF", None),
    "webp": (encoded(COLOUR, "WEBP", lossless=True), "WebP", PIXELS),
    "turned png": (encoded(COLOUR, "PNG", exif=exif(6)), "PNG", np.rot90(PIXELS, -1)),
    "mirrored png": (encoded(COLOUR, "PNG", exif=exif(2)), "PNG", PIXELS[:, ::-1]),
    "bilevel tiff": (encoded(COLOUR.convert("1"), "TIFF"), "TIFF", np.asarray(COLOUR.convert("1")) * 255.0),
}


@pytest.mark.parametrize("name", MADE)
def test_other_files_are_made_into_one_for_all(name: str):
    """One that Zooniverse takes, with its pixels alone, and that the network can be given."""
    data, kind, expected = MADE[name]
    made = shown(data)
    assert made.made_from == kind
    assert sniff(made.data) == "image/png"
    assert for_volunteers(made.data) == made.data
    assert decode(made.data, size_px=16, channels=3).std() > 10
    if expected is not None:
        assert np.array_equal(pixels(made.data), expected)
    assert shown(data) == made


def test_four_inks_become_three_colours():
    """CMYK, as Adobe writes it; near what they were made of, for JPEG is never exact."""
    made = shown(encoded(CMYK, "JPEG", quality=100, subsampling=0))
    assert made.made_from == "JPEG"
    assert np.abs(pixels(made.data).astype(int) - PIXELS).mean() < 3


def test_a_turned_jpeg_is_put_upright():
    """Pixels as they are meant; Zooniverse would have shown them lying."""
    made = shown(encoded(COLOUR, "JPEG", quality=95, subsampling=0, exif=exif(3)))
    assert np.abs(pixels(made.data).astype(int) - PIXELS[::-1, ::-1]).mean() < 5
    assert b"Exif" not in made.data


def test_what_is_too_large_as_png_becomes_a_jpeg():
    """Noise does not compress; the best quality that Zooniverse takes is chosen."""
    noise = Image.fromarray(RNG.integers(0, 256, (700, 700, 3), dtype=np.uint8))
    made = shown(encoded(noise, "TIFF"))
    assert sniff(made.data) == "image/jpeg"
    assert MAX_IMAGE_BYTES / 3 < len(made.data) <= MAX_IMAGE_BYTES
    huge = Image.fromarray(RNG.integers(0, 256, (2400, 2400, 3), dtype=np.uint8))
    with pytest.raises(BadImage, match="2400 x 2400 pixels take more than"):
        shown(encoded(huge, "TIFF"))


CUTOUTS: dict[str, Callable[[], bytes]] = {
    "three bands": lambda: fits_file(fits.PrimaryHDU(FLUX)),
    "bands last": lambda: fits_file(fits.PrimaryHDU(np.moveaxis(FLUX, 0, 2).copy())),
    "one of four axes": lambda: fits_file(fits.PrimaryHDU(FLUX[np.newaxis])),
    "in an extension": lambda: fits_file(
        fits.PrimaryHDU(), fits.BinTableHDU.from_columns([]), fits.ImageHDU(FLUX), fits.ImageHDU(-FLUX)
    ),
    "doubles": lambda: fits_file(fits.PrimaryHDU(FLUX.astype(np.float64))),
    "gzip": lambda: gzip.compress(fits_file(fits.PrimaryHDU(FLUX))),
    "tiles without loss": lambda: fits_file(
        fits.PrimaryHDU(), fits.CompImageHDU(FLUX, compression_type="GZIP_2", quantize_level=0)
    ),
}


@pytest.mark.parametrize("name", CUTOUTS)
def test_a_cutout_is_stretched_and_turned_over(name: str):
    """However it is stored: the last band is red, and the first row the lowest."""
    made = shown(CUTOUTS[name](), PRESETS["decals"])
    expected = stretched(FLUX.astype(np.float64)[:, ::-1], PRESETS["decals"])
    assert made.made_from == "FITS"
    assert np.array_equal(pixels(made.data).transpose(2, 0, 1), expected)


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1"])
def test_tiles_with_loss_are_near(kind: str):
    """As archives send them: fluxes are rounded to a sixteenth of the noise."""
    made = shown(fits_file(fits.PrimaryHDU(), fits.CompImageHDU(FLUX, compression_type=kind)))
    expected = stretched(FLUX.astype(np.float64)[:, ::-1], PLAIN)
    assert np.abs(pixels(made.data).transpose(2, 0, 1).astype(int) - expected).max() <= 6


def test_one_band_counts_blanks_and_negative_fluxes():
    """Integers with a zero point and blanks, floats with NaN, and a TIFF of floats: all are fluxes."""
    counts = np.round(100 * FLUX[0]).astype(np.int16)
    blank = counts.copy()
    blank[3, 4] = -32768
    part = fits.PrimaryHDU(blank)
    part.header["BLANK"] = -32768
    known = counts.astype(np.float64)
    known[3, 4] = np.nan
    expected = stretched(known[np.newaxis, ::-1], PLAIN)[0]
    assert np.array_equal(pixels(shown(fits_file(part)).data), expected)
    assert np.array_equal(pixels(shown(fits_file(fits.PrimaryHDU(known))).data), expected)
    unsigned = shown(fits_file(fits.PrimaryHDU((counts.astype(np.int32) + 1000).astype(np.uint16))))
    assert np.array_equal(pixels(unsigned.data), stretched(counts.astype(np.float64)[np.newaxis, ::-1], PLAIN)[0])
    floats = shown(encoded(Image.fromarray(counts.astype(np.float32)), "TIFF"))
    assert (floats.made_from, pixels(floats.data)[::-1].tolist()) == ("TIFF", pixels(unsigned.data).tolist())


def tiff_bomb() -> bytes:
    """Return a TIFF of some bytes that says to be 60,000 x 60,000."""
    data = bytearray(encoded(Image.new("L", (4, 4)), "TIFF"))
    for old in (struct.pack("<HHIH", 256, 4, 1, 4), struct.pack("<HHIH", 257, 4, 1, 4)):
        place = data.index(old[:4])
        data[place + 8 : place + 12] = struct.pack("<I", 60_000)
    return bytes(data)


def zipped_tile() -> bytes:
    """Return a cutout whose compressed tile unfolds to far more than its pixels."""
    tiles = fits_file(fits.PrimaryHDU(), fits.CompImageHDU(FLUX[0], compression_type="GZIP_1", tile_shape=(20, 24)))
    with fits.open(io.BytesIO(tiles), disable_image_compression=True) as file:
        bomb = gzip.compress(bytes(40 << 20))
        cells = np.empty(1, dtype=object)
        cells[0] = np.frombuffer(bomb, dtype=np.uint8)
        table = file[1]
        names = {column.name for column in table.columns}
        column = "GZIP_COMPRESSED_DATA" if "GZIP_COMPRESSED_DATA" in names else "COMPRESSED_DATA"
        made = fits.BinTableHDU.from_columns([fits.Column(name=column, format="1PB()", array=cells)])
        for card in table.header.cards:
            if card.keyword.startswith("Z"):
                made.header[card.keyword] = card.value
        return fits_file(fits.PrimaryHDU(), made)


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "not an image: neither JPEG"),
    "a page": (lambda: b"\n<!DOCTYPE html><html>", "not an image but HTML"),
    "text": (lambda: b"404 not found", "not an image: neither JPEG"),
    "too long": (lambda: AS_IT_IS["png"] + bytes(MAX_IMAGE_BYTES), "too many bytes"),
    "far too long": (lambda: b"SIMPLE  =" + bytes(originals.MAX_ORIGINAL_BYTES), "too many bytes"),
    "gzip bomb": (lambda: gzip.compress(bytes(40 << 20)), "unzips to more than"),
    "cut gzip": (lambda: gzip.compress(AS_IT_IS["png"])[:40], "gzip is truncated"),
    "gzip of a png": (lambda: gzip.compress(AS_IT_IS["png"]), "gzip of what is not FITS"),
    "truncated fits": (
        lambda: CUTOUTS["three bands"]()[:5000],
        "FITS is truncated: its header asks for 14400 bytes, of",
    ),
    "no fits at all": (lambda: b"SIMPLE  =                    T", "FITS is truncated or broken"),
    "huge header": (lambda: header(NAXIS=2, NAXIS1=10**6, NAXIS2=10**6), "1000000 x 1000000 is over the limit"),
    "header without data": (lambda: header(NAXIS=2, NAXIS1=1000, NAXIS2=1000), "asks for 4002880 bytes, of which 2880"),
    "axes that are not named": (lambda: header(NAXIS=999), "FITS is truncated or broken"),
    "all unknown": (lambda: fits_file(fits.PrimaryHDU(FLUX * np.nan)), "no pixel has a flux that is a number"),
    "one pixel": (lambda: fits_file(fits.PrimaryHDU(np.ones((1, 1)))), "nothing to see"),
    "five bands": (
        lambda: fits_file(fits.PrimaryHDU(np.ones((5, 8, 8)))),
        "1 or 3 bands, first or last, not 5 x 8 x 8",
    ),
    "one axis": (lambda: fits_file(fits.PrimaryHDU(np.ones(9))), "two or three axes, not 9"),
    "a table": (lambda: fits_file(fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])), "FITS holds no image"),
    "hcompress": (
        lambda: fits_file(fits.PrimaryHDU(), fits.CompImageHDU(FLUX[0], compression_type="HCOMPRESS_1")),
        "HCOMPRESS_1 are not read: unpack it",
    ),
    "tile bomb": (zipped_tile, "a FITS tile unzips to more than"),
    "tiff bomb": (tiff_bomb, "too many pixels"),
    "cut tiff": (lambda: encoded(COLOUR, "TIFF")[:200], "TIFF is (broken|truncated)"),
    "cut webp": (lambda: encoded(COLOUR, "WEBP")[:60], "WebP is (broken|truncated)"),
    "two pages": (
        lambda: encoded(COLOUR, "TIFF", save_all=True, append_images=[COLOUR]),
        "TIFF has several frames or pages",
    ),
    "animated webp": (
        lambda: encoded(COLOUR, "WEBP", save_all=True, append_images=[COLOUR.rotate(90)]),
        "WebP has several frames or pages",
    ),
    "animated gif": (
        lambda: encoded(COLOUR, "GIF", save_all=True, append_images=[COLOUR.rotate(90)]),
        "GIF has several frames or pages",
    ),
    "16 bits of counts": (
        lambda: encoded(Image.fromarray(DEEP // 32), "PNG"),
        "brightest pixel is 20.. of 65535 would be shown black",
    ),
    "flat tiff of floats": (lambda: encoded(Image.new("F", (8, 8)), "TIFF"), "nothing to see"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_shown_says_why(name: str):
    """Kind: files that are none, lie about their size, or hold what nobody could see."""
    make, said = BAD[name]
    with pytest.raises(BadImage, match=said):
        shown(make())


def test_fits_without_astropy_ends_the_reading(monkeypatch: pytest.MonkeyPatch):
    """Not one fault a row: the extra is named."""
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(BadConfig, match=r"alservice\[astro\]"):
        cutouts.read_cutout(b"SIMPLE  =")
