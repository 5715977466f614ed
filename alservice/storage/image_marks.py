"""What an image file says beside its pixels, taken away: places, names, comments, previews and bytes after the end.

Nothing is decoded and encoded again, so pixels stay as they are, to the bit. What is left is what a decoder needs.
Colour profiles and gamma go as well: the network sees numbers as they are stored, and so do volunteers.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from alservice.constants import MAX_IMAGE_PIXELS
from alservice.errors import BadImage

# JPEG: https://www.w3.org/Graphics/JPEG/itu-t81.pdf, table B.1
_SOI, _EOI, _SOS, _APP0, _APP1, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_NEEDED: Final = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xDE, 0xDF})
_NEXT_MARKER: Final = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""What ends coded pixels: FF is there followed by 00, or by one of the eight restarts."""

_EXIF, _ORIENTATION, _SHORT, _UPRIGHT = b"Exif\0\0", 0x0112, 3, 1

# PNG: https://www.w3.org/TR/png-3/#table53
_PNG_NEEDED: Final = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Chunks without which pixels change; those of animations stay too, so that they are refused as such."""

_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SIGNATURE: Final = 8
_INFLATED: Final = 1 << 16
"""Bytes inflated at a time to find where pixels end: memory is flat, whatever they unfold to."""

# GIF: https://www.w3.org/Graphics/GIF/spec-gif89a.txt
_GIF_IMAGE, _GIF_EXTENSION, _GIF_END, _GIF_CONTROL = 0x2C, 0x21, 0x3B, 0xF9


def pixels_only(data: bytes, media_type: str) -> bytes:
    """Return an image file with its pixels and nothing else; of one that has nothing else, the same bytes.

    Raises
    ------
    BadImage
        It ends too soon, is no file of its type, or asks to be turned when it is shown: without that mark it would be
        seen as it is not meant, and perhaps in a mirror.
    """
    strip = {"image/jpeg": _jpeg, "image/png": _png, "image/gif": _gif}[media_type]
    try:
        return b"".join(strip(data))
    except (IndexError, struct.error, zlib.error) as error:
        raise BadImage(f"{media_type} is truncated or broken: {error}") from error


def _jpeg(data: bytes) -> Iterator[bytes]:
    yield data[:2]
    place = 2
    while True:
        place, marker = _marker(data, place)
        if marker == _EOI:
            yield b"\xff\xd9"
            return
        if marker in _BARE:
            yield bytes((0xFF, marker))
            continue
        (length,) = struct.unpack_from(">H", data, place)
        body = data[place + 2 : place + length]
        if length < 2 or len(body) != length - 2:
            raise IndexError("a segment is cut off")
        place += length
        if marker == _APP1:
            _refuse_turned(body.removeprefix(_EXIF) if body.startswith(_EXIF) else b"")
        kept = _kept(marker, body)
        if kept is not None:
            yield struct.pack(">BBH", 0xFF, marker, len(kept) + 2) + kept
        if marker == _SOS:
            end = _NEXT_MARKER.search(data, place)
            if end is None:
                raise IndexError("it has no end")
            yield data[place : end.start()]
            place = end.start()


def _marker(data: bytes, place: int) -> tuple[int, int]:
    """Return where a marker's segment begins, and the marker; any number of FF may stand before it."""
    if data[place] != 0xFF:
        raise IndexError(f"byte {place} is no marker")
    while data[place] == 0xFF:
        place += 1
    return place + 1, data[place]


def _kept(marker: int, body: bytes) -> bytes | None:
    """Return what stays of a segment; how colours were mixed is told by JFIF's and Adobe's, in their fixed parts."""
    if marker in _NEEDED or marker == _SOS:
        return body
    if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return body[:12] + b"\0\0"  # of a preview 0 x 0
    if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        return body[:12]
    return None


def _png(data: bytes) -> Iterator[bytes]:
    yield data[:_SIGNATURE]
    place, pixels = _SIGNATURE, _Pixels(_png_bytes(data[_SIGNATURE : _SIGNATURE + 25]))
    while True:
        (length,) = struct.unpack_from(">I", data, place)
        kind, whole = data[place + 4 : place + 8], data[place : place + 12 + length]
        if len(whole) != 12 + length:
            raise IndexError("a chunk is cut off")
        place += len(whole)
        if kind == b"eXIf":
            _refuse_turned(whole[8:-4])
        elif kind == b"IDAT" and _intact(whole):
            yield pixels.used(whole)
        elif kind in _PNG_NEEDED:
            yield whole
        if kind == b"IEND":
            return


def _intact(chunk: bytes) -> bool:
    """Tell whether a chunk's checksum is right; a wrong one is kept, for the decoder to refuse."""
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


class _Pixels:
    """The compressed stream of a PNG's pixels, followed to where it ends.

    Parameters
    ----------
    n_bytes
        What the pixels unfold to; a stream that goes on is refused before it takes more time than they would.
    """

    def __init__(self, n_bytes: int) -> None:
        self._stream = zlib.decompressobj()
        self._left = n_bytes

    def used(self, chunk: bytes) -> bytes:
        """Return a chunk without what follows the end of the pixels inside it; nothing of one after the end."""
        if self._stream.eof:
            return b""
        body = rest = chunk[8:-4]
        while rest and not self._stream.eof:
            self._left -= len(self._stream.decompress(rest, _INFLATED))
            if self._left < 0:
                raise BadImage("image/png unfolds to more than its pixels")
            rest = self._stream.unconsumed_tail
        if not self._stream.unused_data:
            return chunk
        body = body[: -len(self._stream.unused_data)]
        return struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))


def _png_bytes(header: bytes) -> int:
    """Return what a PNG's pixels unfold to at most, in bytes, by its header chunk; raises `BadImage` for too many."""
    _, kind, width, height, depth, colour, _, _, interlaced = struct.unpack(">I4sIIBBBBB4x", header)
    if kind != b"IHDR":
        raise IndexError("it has no header")
    if width * height > MAX_IMAGE_PIXELS:
        raise BadImage(f"too many pixels: {width} x {height} is over the limit of {MAX_IMAGE_PIXELS}")
    whole: int = height * (1 + -(-width * depth * _CHANNELS.get(colour, 4) // 8))
    return 3 * whole + 64 if interlaced else whole  # seven passes, each with rows that begin anew


def _gif(data: bytes) -> Iterator[bytes]:
    place = 13 + _table_bytes(data[10])
    yield data[:place]
    while True:
        kind = data[place]
        if kind == _GIF_END:
            yield data[place : place + 1]
            return
        if kind == _GIF_EXTENSION:
            end = _after_blocks(data, place + 2)
            if data[place + 1] == _GIF_CONTROL:
                yield data[place:end]
        elif kind == _GIF_IMAGE:
            end = _after_blocks(data, place + 11 + _table_bytes(data[place + 9]))
            yield data[place:end]
        else:
            raise IndexError(f"byte {place} begins no block")
        place = end


def _table_bytes(flags: int) -> int:
    """Return the length of a colour table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(data: bytes, place: int) -> int:
    """Return where a row of blocks ends: each says its length, and the last has none."""
    while data[place]:
        place += 1 + data[place]
    return place + 1


def _refuse_turned(tiff: bytes) -> None:
    """Raise `BadImage` if EXIF says that the image is to be turned or mirrored; what cannot be read says nothing."""
    if tiff[:2] not in {b"II", b"MM"}:
        return
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(entries):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * entry)
            if (tag, kind) == (_ORIENTATION, _SHORT) and 1 < value <= 8:
                raise BadImage(f"EXIF says to turn it (orientation {value}): store its pixels upright")
    except struct.error:
        return
