"""Image bytes to arrays and back, bounded before anything is decoded.

Two decisions that change every array, and so every model:

- *Square*: the largest centred square is kept, then resized by an antialiased triangle filter. Cutouts are
  centred on their galaxy, so the ends of a longer side are sky; stretching would change every axis ratio.
- *Grey* is the mean over channels, as in Walmsley et al. (2020, section 2.5.3). Luma weights would follow
  human eyes and favour one survey band.

Pixels are taken as stored, here and by volunteers: an image whose EXIF says to turn it is refused here, and colour
profiles are not applied. What people have in other forms becomes one of these in `originals`, before anything else.

Two decoders, one result: plain JPEG goes through libjpeg-turbo directly (simplejpeg), all else, and whatever that one
would not take without a warning, through Pillow, which stays the judge. Both give the same pixels to the bit, so that
which one read an image shows nowhere.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final, Literal

import numpy as np
import simplejpeg
from PIL import Image

from alservice.constants import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from alservice.errors import BadImage
from alservice.shapes import UInt8Array
from alservice.storage.image_marks import pixels_only

_SIGNATURES: Final = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_FORMATS: Final = ("JPEG", "PNG", "GIF")
_MODES: Final = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})  # 8 bits or less: others would be clipped
_MEAN: Final = (1 / 3, 1 / 3, 1 / 3, 0)
_BROKEN: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    struct.error,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
)
"""What Pillow raises of bytes that are no image; of a TIFF whose tags contradict each other it may be anything."""

_NOT_PLAIN: Final = (b"Exif\0", b"MPF\0")
"""Marks of a JPEG that Pillow may refuse for more than its pixels: EXIF that is broken, several pictures in one."""

_COLOURS: Final = {"YCbCr": "RGB", "Gray": "GRAY"}
"""How a JPEG holds colours to how it is read; the others are Pillow's."""

_SCALES: Final = (8, 4, 2, 1)
"""By how much a JPEG is decoded smaller, as Pillow does; libjpeg-turbo could do any eighths, with other pixels."""

FILTERS_LOCK: Final = Lock()
"""Warning filters belong to the process, so only one thread at a time may change them."""


def sniff(data: bytes) -> str:
    """Return the media type that the first bytes declare.

    Raises
    ------
    BadImage
        If they declare none that Zooniverse shows and this module reads: JPEG, PNG, GIF.
    """
    for signature, media_type in _SIGNATURES.items():
        if data.startswith(signature):
            return media_type
    raise BadImage("not an image: neither JPEG, PNG nor GIF", first_bytes=data[:8].hex())


def acceptable(data: bytes, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Return an original unchanged if Zooniverse takes its size and type, else raise `BadImage` that says why not."""
    _check_size(data, max_bytes)
    sniff(data)
    return data


def for_volunteers(data: bytes, *, max_bytes: int = MAX_IMAGE_BYTES) -> bytes:
    """Return what volunteers are shown of an original: its pixels, to the bit, without metadata and trailing bytes.

    Raises
    ------
    BadImage
        Zooniverse does not take it, it is broken, or it is to be turned when it is shown.
    """
    _check_size(data, max_bytes)
    return pixels_only(data, sniff(data))


def decode(
    data: bytes,
    *,
    size_px: int,
    channels: Literal[1, 3],
    max_bytes: int = MAX_IMAGE_BYTES,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> UInt8Array:
    """Return a square image, the same on every call.

    Parameters
    ----------
    data
        JPEG, PNG or GIF with one frame, 8 bits per channel, opaque.
    size_px
        Side of the result.
    channels
        3 for red, green, blue; 1 for their mean.
    max_bytes, max_pixels
        What may be decoded, checked on the bytes and on the header.

    Returns
    -------
    UInt8Array
        (C, H, W) with H = W = `size_px`, contiguous.

    Raises
    ------
    BadImage
        Too many bytes or pixels, not an image, truncated or broken, animated, transparent, or of another
        depth.
    """
    _check_size(data, max_bytes)
    media_type = sniff(data)
    plain = _plain_jpeg(data, size_px, max_pixels) if media_type == "image/jpeg" else None
    if plain is not None:
        return _square(plain, size_px, channels)
    with read_errors(media_type):
        image = open_image(data, _FORMATS)
        animated = getattr(image, "is_animated", False)
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(f"too many pixels: {width} x {height} is over the limit of {max_pixels}")
    if animated:
        raise BadImage(f"{media_type} is animated")
    with read_errors(media_type):
        # A JPEG can be decoded at 1/2, 1/4 or 1/8 scale, never below what is asked for.
        image.draft(None, (size_px, size_px))
        image.load()
    return _square(_opaque(image), size_px, channels)


def check_decodable(data: bytes) -> None:
    """Raise `BadImage` where `decode` would, whatever the size asked for; cheaper, as small a JPEG as can be is made.

    Every coded byte is read, so an image that passes is whole.
    """
    decode(data, size_px=1, channels=3)


def _plain_jpeg(data: bytes, size_px: int, max_pixels: int) -> Image.Image | None:
    """Return a JPEG of grey or colour, decoded at the scale that Pillow would choose; None for Pillow to judge."""
    if any(mark in data for mark in _NOT_PLAIN):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours not in _COLOURS or not 0 < width * height <= max_pixels:
            return None
        most = min(width // size_px, height // size_px)
        scale = next((scale for scale in _SCALES if most >= scale), 1)
        # Warnings of a damaged stream are errors here.
        pixels = simplejpeg.decode_jpeg(
            data, _COLOURS[colours], min_height=-(-height // scale), min_width=-(-width // scale), strict=True
        )
    except ValueError:
        return None
    return Image.fromarray(pixels[..., 0] if colours == "Gray" else pixels)


def encode_jpeg(image: UInt8Array, *, quality: int = 90) -> bytes:
    """Return JPEG bytes of an image, uint8 (C, H, W) with C 1 or 3."""
    return _encode(image, "JPEG", quality=quality)


def encode_png(image: UInt8Array) -> bytes:
    """Return lossless PNG bytes of an image, uint8 (C, H, W) with C 1 or 3."""
    return _encode(image, "PNG")


def _check_size(data: bytes, max_bytes: int) -> None:
    if len(data) > max_bytes:
        raise BadImage(f"too many bytes: {len(data)} is over the limit of {max_bytes}")


def open_image(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Read the header; whatever Pillow only warns about, such as a corrupt EXIF block, is an error."""
    with FILTERS_LOCK, warnings.catch_warnings():
        warnings.filterwarnings("error", module=r"PIL\.")
        return Image.open(io.BytesIO(data), formats=formats)


@contextmanager
def read_errors(media_type: str) -> Iterator[None]:
    """Give every way in which Pillow rejects bytes one type."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"too many pixels: {error}") from error
    except _BROKEN as error:
        raise BadImage(f"{media_type} is truncated or broken: {error}") from error


def _opaque(image: Image.Image) -> Image.Image:
    """Return the image as grey or RGB; refuses what that would clip or blend."""
    if image.mode not in _MODES:
        raise BadImage(f"pixel mode {image.mode} is not 8-bit grey or colour")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise BadImage("the image is transparent in places")
    return image if image.mode == "L" else image.convert("RGB")


def _square(image: Image.Image, size_px: int, channels: Literal[1, 3]) -> UInt8Array:
    if channels == 1 and image.mode == "RGB":
        image = image.convert("L", matrix=_MEAN)
    elif channels == 3:
        image = image.convert("RGB")
    side = min(image.size)
    left, top = ((length - side) / 2 for length in image.size)
    image = image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image, dtype=np.uint8).reshape(size_px, size_px, channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _encode(image: UInt8Array, form: str, **options: int) -> bytes:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] not in {1, 3}:
        raise BadImage(f"an image is uint8 (1 or 3, H, W), not {image.dtype} {image.shape}")
    pixels = image[0] if image.shape[0] == 1 else image.transpose(1, 2, 0)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, form, **options)
    return buffer.getvalue()
