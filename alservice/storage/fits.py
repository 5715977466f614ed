"""Fluxes of a FITS cutout, bounded before any is read."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from alservice.errors import BadConfig, BadImage
from alservice.shapes import FloatArray
from alservice.storage.images import FILTERS_LOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_FLUXES: Final = 3 * 1024 * 1024
"""Values of a cutout: some 150 MB while it is stretched."""

_MAX_PARTS: Final = 16
"""Parts of a file (HDUs) in which an image is looked for."""

_BANDS: Final = (1, 3)

_CODECS: Final = frozenset({"RICE_1", "GZIP_1", "GZIP_2", "NOCOMPRESS"})
"""Compressions of tiles that are read; HCOMPRESS_1 and PLIO_1 are unpacked without bounds by their decoders."""

_ZIPPED: Final = ("COMPRESSED_DATA", "GZIP_COMPRESSED_DATA")


def read_cutout(data: bytes) -> FloatArray:
    """Return the fluxes of the first image in a FITS file, top row first.

    Axes of length 1 before the others are left out. Bands come first or last; a cutout of 3 x H x 3 has them first.

    Returns
    -------
    FloatArray
        float64 (C, H, W), C 1 or 3, NaN where blank.

    Raises
    ------
    BadImage
        Truncated, broken, without an image, or with one of other axes or of more than `MAX_FLUXES` values.
    BadConfig
        Without the extra astro.
    """
    fits = _astropy()
    # The warnings' filters belong to the process; what astropy only warns about is read, bounded as all is.
    with FILTERS_LOCK, warnings.catch_warnings(), _read_errors():
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(data), memmap=False, lazy_load_hdus=True, ignore_missing_simple=False) as file:
            place, image = _image_of(file, data)
            if isinstance(image, fits.CompImageHDU):
                _check_tiles(fits, data, place, image)
            fluxes = np.asarray(image.data, dtype=np.float64)
    return _bands(fluxes)[:, ::-1]


def _astropy() -> Any:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise BadConfig("FITS images need astropy: pip install 'alservice[astro]'") from error
    return fits


@contextmanager
def _read_errors() -> Iterator[None]:
    try:
        yield
    except BadImage:
        raise
    except Exception as error:  # whatever astropy raises of headers that contradict themselves; tiles have their own
        raise BadImage(f"FITS is truncated or broken: {error}") from error


def _image_of(file: Any, data: bytes) -> tuple[int, Any]:
    """Return the first image of a file and which part it is, once its values are few enough and all there."""
    for place in range(_MAX_PARTS):
        try:
            part = file[place]
        except IndexError:
            break
        if not part.is_image or not part.shape:
            continue
        shape = part.shape
        if math.prod(shape) > MAX_FLUXES:
            raise BadImage(f"too many pixels: {_sides(shape)} is over the limit of {MAX_FLUXES} values of a cutout")
        if len(shape) < 2 or 0 in shape:
            raise BadImage(f"a cutout has two or three axes, not {_sides(shape)}")
        needed = part.fileinfo()["datLoc"] + _stored_bytes(part)
        if needed > len(data):
            raise BadImage(f"FITS is truncated: its header asks for {needed} bytes, of which {len(data)} are there")
        return place, part
    raise BadImage("FITS holds no image: its parts are tables, or empty")


def _stored_bytes(part: Any) -> int:
    """Return the bytes that a part's values take in the file, compressed or not."""
    header = part.header
    if hasattr(part, "compression_type"):
        return 0  # its table is checked row by row
    bits: int = math.prod(part.shape) * abs(int(header["BITPIX"]))
    return bits // 8


def _check_tiles(fits: Any, data: bytes, place: int, image: Any) -> None:
    """Refuse compressed tiles that unfold to more than a cutout, or by a method without bounds."""
    if image.compression_type not in _CODECS:
        raise BadImage(f"FITS tiles compressed by {image.compression_type} are not read: unpack it with funpack")
    if math.prod(image.tile_shape) > MAX_FLUXES:
        raise BadImage(f"FITS tiles of {_sides(image.tile_shape)} are over the limit of {MAX_FLUXES} values")
    with fits.open(io.BytesIO(data), memmap=False, disable_image_compression=True) as raw:
        rows = raw[place].data
        for name in _ZIPPED:
            if name in rows.names and (name != _ZIPPED[0] or image.compression_type.startswith("GZIP")):
                for cell in rows[name]:
                    _check_zipped(bytes(cell))


def _check_zipped(cell: bytes) -> None:
    most = 8 * MAX_FLUXES
    if cell and len(zlib.decompressobj(wbits=47).decompress(cell, most + 1)) > most:
        raise BadImage(f"a FITS tile unzips to more than {most} bytes")


def _bands(fluxes: FloatArray) -> FloatArray:
    """Return fluxes as (C, H, W)."""
    while fluxes.ndim > 2 and fluxes.shape[0] == 1:
        fluxes = fluxes[0]
    if fluxes.ndim == 2:
        return fluxes[np.newaxis]
    if fluxes.ndim == 3 and fluxes.shape[0] in _BANDS:
        return fluxes
    if fluxes.ndim == 3 and fluxes.shape[2] in _BANDS:
        return np.moveaxis(fluxes, 2, 0)
    raise BadImage(f"a cutout has 1 or 3 bands, first or last, not {_sides(fluxes.shape)}")


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
