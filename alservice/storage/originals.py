"""Image files as people have them, made into what volunteers and the network are shown: one file for both.

A JPEG, PNG or GIF that a browser shows as it is meant stays as it is. All else is decoded once and encoded again, as
PNG, or as JPEG where that would be larger than Zooniverse takes:

- *Turned*: pixels are put upright where EXIF says that they are not.
- *CMYK* becomes red, green, blue without a profile; *transparent* pixels lie on black, which is what sky is.
- *16-bit grey* is brightness: 65,535 is white. A file of which no pixel reaches a sixteenth of that holds counts, and
  would be shown black: it is refused.
- *WebP and TIFF* as the above; a TIFF of floats or of 32-bit integers holds fluxes, as FITS does.
- *FITS* is stretched; see `alservice.science.stretch`. Rows go up in FITS and down in images, so it is turned over.

A file of several frames or pages is refused: which one is meant, it does not say.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from alservice.constants import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_ORIGINAL_BYTES
from alservice.errors import BadImage
from alservice.science.stretch import PLAIN, Stretch, stretched
from alservice.shapes import UInt8Array
from alservice.storage.fits import read_cutout
from alservice.storage.images import acceptable, open_image, read_errors

_GZIP, _FITS = b"\x1f\x8b", b"SIMPLE  ="
_SIGNATURES: Final[Mapping[bytes, str]] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    _FITS: "FITS",
}
_SHOWN: Final = frozenset({"JPEG", "PNG", "GIF"})

_BLENDED: Final = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_OTHER_COLOURS: Final = frozenset({"CMYK", "YCbCr", "LAB", "HSV"})
_AS_FLUX: Final = frozenset({"I", "F"})

_PNG_DEPTH, _PNG_COLOUR = 24, 25
_PNG_ALPHA: Final = frozenset({4, 6})
_PNG_MARKS: Final = (b"tRNS", b"eXIf")

_ORIENTATION: Final = 0x0112
"""Tag of EXIF; 1 is upright, and 0 is written by who means nothing by it."""

_LEAST_GREY: Final = 4096
"""Of 65,535, a sixteenth: what no pixel of a 16-bit image exceeds would be shown black."""

_TRY_PNG: Final = 4
"""So many times the bytes that Zooniverse takes are compressed without loss to see whether they fit; more do not."""

_QUALITIES: Final = (95, 90, 80)


class Shown(NamedTuple):
    """An image file for volunteers and the network alike, and the kind of file it was made from if from another."""

    data: bytes
    made_from: str | None


def shown(data: bytes, stretch: Stretch = PLAIN) -> Shown:
    """Return what volunteers and the network are shown of an original; the rules are this module's.

    Parameters
    ----------
    data
        JPEG, PNG, GIF, WebP, TIFF or FITS (as a whole or tile by tile compressed), of at most `MAX_ORIGINAL_BYTES`; of
        `MAX_IMAGE_BYTES` where it stays as it is, which is not decoded and may be broken.
    stretch
        Of fluxes.

    Raises
    ------
    BadImage
        Too many bytes or pixels, no image, truncated or broken, of several frames, or without anything to see.
    BadConfig
        A FITS file, without the extra astro.
    """
    if len(data) > MAX_ORIGINAL_BYTES:
        raise BadImage(f"too many bytes: {len(data)} is over the limit of {MAX_ORIGINAL_BYTES}")
    data = _unzipped(data)
    kind = kind_of(data)
    if kind in _SHOWN and (len(data) > MAX_IMAGE_BYTES or _is_plain(data, kind)):
        return Shown(acceptable(data), None)
    if kind == "FITS":
        return Shown(_encoded(_image(stretched(read_cutout(data), stretch))), kind)
    made = _converted(data, kind, stretch)
    return Shown(data, None) if made is None else Shown(_encoded(made), kind)


def kind_of(data: bytes) -> str:
    """Return the kind of file that the first bytes declare; raises `BadImage` if they declare none that is read."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    kind = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    if kind is not None:
        return kind
    if data.lstrip()[:1] == b"<":
        raise BadImage("not an image but HTML or XML: a page of the server, perhaps a login or an error")
    raise BadImage("not an image: neither JPEG, PNG, GIF, WebP, TIFF nor FITS", first_bytes=data[:8].hex())


def _unzipped(data: bytes) -> bytes:
    """Return the bytes inside gzip, as survey servers send FITS; all others as they are."""
    if not data.startswith(_GZIP):
        return data
    stream = zlib.decompressobj(wbits=31)
    try:
        unzipped = stream.decompress(data, MAX_ORIGINAL_BYTES + 1)
    except zlib.error as error:
        raise BadImage(f"gzip is broken: {error}") from error
    if len(unzipped) > MAX_ORIGINAL_BYTES:
        raise BadImage(f"too many bytes: it unzips to more than the limit of {MAX_ORIGINAL_BYTES}")
    if not stream.eof:
        raise BadImage("gzip is truncated")
    if not unzipped.startswith(_FITS):
        raise BadImage("not an image: gzip of what is not FITS", first_bytes=unzipped[:8].hex())
    return unzipped


def _is_plain(data: bytes, kind: str) -> bool:
    """Return whether a file surely needs nothing done, by its header alone."""
    if kind == "JPEG":
        try:
            colours = simplejpeg.decode_jpeg_header(data)[2]
        except ValueError:
            return True  # broken: told when it is decoded
        return colours not in {"CMYK", "YCCK"} and b"Exif\0" not in data
    if kind == "PNG":
        depth, colour = data[_PNG_DEPTH : _PNG_DEPTH + 1], data[_PNG_COLOUR : _PNG_COLOUR + 1]
        is_grey16 = (depth, colour) == (b"\x10", b"\0")
        marks = any(mark in data for mark in _PNG_MARKS)
        return not (is_grey16 or marks or (colour and colour[0] in _PNG_ALPHA))
    return False


def _converted(data: bytes, kind: str, stretch: Stretch) -> Image.Image | None:
    """Return the image that a file is to be shown as; None where it can be as it is."""
    try:
        with read_errors(kind):
            image = open_image(data, (kind.upper(),))
    except BadImage as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise BadImage(f"{kind} is broken, or of a sort that is not read") from error
        raise
    width, height = image.size
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"too many pixels: {width} x {height} is over the limit of {MAX_IMAGE_PIXELS}")
    if getattr(image, "is_animated", False):
        raise BadImage(f"{kind} has several frames or pages: give the one that is meant")
    with read_errors(kind):
        is_turned = image.getexif().get(_ORIENTATION, 1) not in {0, 1}
        if kind == "JPEG" and not is_turned and image.mode not in _OTHER_COLOURS:
            return None
        image.load()
        upright = ImageOps.exif_transpose(image) if is_turned else image
    made = _eight_bit(upright, stretch)
    return None if made is image and kind in _SHOWN else made


def _eight_bit(image: Image.Image, stretch: Stretch) -> Image.Image:
    """Return an image as grey or colour of 8 bits; the same one where it can be shown as it is."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(_from_16_bit(np.asarray(image)))
    if image.mode in _AS_FLUX:
        return _image(stretched(np.asarray(image, dtype=np.float64)[np.newaxis], stretch))
    if image.mode in _OTHER_COLOURS:
        return image.convert("RGB")
    if image.mode in _BLENDED or image.has_transparency_data:
        return _on_black(image)
    return image


def _from_16_bit(levels: np.ndarray) -> UInt8Array:
    brightest = int(levels.max(initial=0))
    if brightest < _LEAST_GREY:
        raise BadImage(
            f"16-bit grey whose brightest pixel is {brightest} of 65535 would be shown black: of counts make FITS, or "
            "a TIFF of floats, which are stretched"
        )
    eight: UInt8Array = ((levels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return eight


def _on_black(image: Image.Image) -> Image.Image:
    """Return an image on black; the same one where nothing shows through."""
    colours = image.convert("RGBA")
    if colours.getchannel("A").getextrema() == (255, 255):
        return image
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    blended = Image.alpha_composite(black, colours)
    return blended.convert("L" if image.mode in {"LA", "La", "L", "1"} else "RGB")


def _image(levels: UInt8Array) -> Image.Image:
    return Image.fromarray(levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0)))


def _encoded(image: Image.Image) -> bytes:
    """Return a file of an image that Zooniverse takes, with nothing but its pixels: PNG if it fits, or JPEG."""
    plain = Image.fromarray(np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB")))
    width, height = plain.size
    if width * height * len(plain.getbands()) <= _TRY_PNG * MAX_IMAGE_BYTES:
        data = _saved(plain, "PNG")
        if len(data) <= MAX_IMAGE_BYTES:
            return data
    for quality in _QUALITIES:
        data = _saved(plain, "JPEG", quality=quality, subsampling=0)
        if len(data) <= MAX_IMAGE_BYTES:
            return data
    raise BadImage(f"too many bytes: {width} x {height} pixels take more than {MAX_IMAGE_BYTES} as JPEG too")


def _saved(image: Image.Image, form: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()
