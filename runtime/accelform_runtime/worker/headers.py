"""What decoding an image will cost, read from its headers and its structure before anything is decoded.

Each bound is on a product that a file of a few kilobytes can make large. Photographs stay far below them: a progressive
JPEG of 24 million pixels has 10 to 20 scans, a PNG one chunk for every 8 KiB.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from typing import Final

import simplejpeg  # type: ignore[import-untyped]

from accelform_runtime.errors import InvalidImage

MAX_PIXELS: Final = 40_000_000
"""Most pixels an image may have by its header."""
MAX_ASPECT_RATIO: Final = 64
"""Longest side over shortest; the model scales the shortest side to 256, which blows up the other one as much."""
MAX_SCANS: Final = 200
"""Most scans of a progressive JPEG."""
MAX_SCANNED_PIXELS: Final = 500_000_000
"""Most pixels of a JPEG times its scans: each passes over all of them. One of arithmetic coding counts as eight."""
MAX_DECODED_BYTES: Final = 300_000_000
"""Most memory for an image while it is decoded: pixels, a progressive JPEG's coefficients, what a converter holds."""
MAX_PARTS: Final = 10_000
"""Most chunks of a PNG, or segments in front of a JPEG's first scan."""
MAX_BLOCKS: Final = 100_000
"""Most blocks of a GIF; each holds up to 255 bytes."""
MAX_RUN_PIXELS: Final = 2_000_000
"""Most pixels, and bytes of file, of a BMP in run lengths, for which there is no fast decoder."""

MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
_START_OF_SCAN: Final = b"\xff\xda"
_ARITHMETIC: Final = (b"\xff\xc9", b"\xff\xca", b"\xff\xcb", b"\xff\xcd", b"\xff\xce", b"\xff\xcf")
_ARITHMETIC_WEIGHT: Final = 8
_SUBSAMPLED: Final = {"Gray": 1.0, "420": 1.5, "411": 1.5, "422": 2.0, "440": 2.0}
"""Values that a JPEG stores for each pixel, where it is not one of each colour."""
_LOSSLESS: Final = (0xC3, 0xC7, 0xCB, 0xCF)
_HIERARCHICAL: Final = (0xC5, 0xC6, 0xCD, 0xCE)
_JPEG_LS: Final = 0xF7
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TO_DECODE: Final = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}) | _FRAMES
"""Markers of a JPEG that its pixels depend on: tables, frame, restart interval, JFIF's and Adobe's words on colours."""
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Of a PNG, by its colour type."""
_CHUNKS: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"})
"""Of a PNG, those that its pixels depend on."""
_RUN_LENGTHS: Final = (1, 2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What is known of an image before it is decoded; within all bounds."""

    kind: str
    """JPEG, PNG, GIF or BMP."""
    width: int
    height: int
    work: int
    """Pixels, times as often as a decoder passes over them."""
    colours: str = ""
    """Of a JPEG that the fast decoder takes: what its values are; empty for all others."""


def read(data: bytes) -> Header:
    """What the image in `data` is.

    Raises InvalidImage when it is no JPEG, PNG, GIF or BMP, has no header, or would cost more than is taken.
    """
    kind = next((name for magic, name in MAGIC if data.startswith(magic)), None)
    if kind is None:
        what = "is empty" if not data else "is not a JPEG, PNG, GIF or BMP image"
        raise InvalidImage(f"the input {what}; send the bytes of an image file")
    return {"JPEG": _jpeg, "PNG": _png, "GIF": _gif, "BMP": _bmp}[kind](data)


def check_size(width: int, height: int) -> None:
    """Raises InvalidImage for a header that promises more pixels, or a narrower image, than is taken."""
    if width * height > MAX_PIXELS:
        raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_PIXELS} pixels are accepted")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_ASPECT_RATIO}:1 is accepted")


def unreadable(kind: str, data: bytes) -> InvalidImage:
    """What to say of an image that its decoder doesn't take: its kind, where that is rare, else that it is damaged."""
    reason = _rare_jpeg(data) if kind == "JPEG" else ""
    return InvalidImage(f"the JPEG image {reason}; save it again as a baseline JPEG") if reason else damaged(kind)


def damaged(kind: str) -> InvalidImage:
    """The refusal of a file that ends early or contradicts itself."""
    return InvalidImage(f"the {kind} image is damaged or cut short; send the complete file")


def bare_png(data: bytes) -> bytes:
    """The PNG without texts, profiles and further frames, none of which its pixels depend on. Raises InvalidImage."""
    chunks = list(_chunks(data))
    if all(name in _CHUNKS for name, _, _ in chunks):
        return data
    kept = [data[start:end] for name, start, end in chunks if name in _CHUNKS]
    return b"".join([data[:8], *kept, b"\0\0\0\0IEND\xaeB`\x82"])


def bare_jpeg(data: bytes) -> bytes:
    """The JPEG without pictures of itself, profiles and remarks, as far as it can be followed. Raises InvalidImage."""
    kept = [data[:2]]
    for marker, start, end in _segments(data):
        if marker == 0xDA:
            return b"".join([*kept, data[start:]])
        if marker in _TO_DECODE:
            kept.append(data[start:end])
    raise damaged("JPEG")


def _jpeg(data: bytes) -> Header:
    scans = max(1, data.count(_START_OF_SCAN))
    if scans > MAX_SCANS:
        raise InvalidImage(f"the JPEG image has more than {MAX_SCANS} scans; save it again as a baseline JPEG")
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(data)
    except ValueError:  # damaged, or odd: what is odd may be decoded all the same, and its header is there
        height, width, colours, subsampling = *_frame(data), "", ""
    check_size(width, height)
    passes = scans
    # To look for it takes longer than to decode a small image, so that it is looked for where it would matter.
    if width * height * scans * _ARITHMETIC_WEIGHT > MAX_SCANNED_PIXELS and any(mark in data for mark in _ARITHMETIC):
        passes *= _ARITHMETIC_WEIGHT
    if width * height * passes > MAX_SCANNED_PIXELS:
        raise InvalidImage(
            f"the JPEG image is {width} x {height} pixels in {scans} scans; at most {MAX_SCANNED_PIXELS} pixels times "
            "scans are accepted: save it again with fewer scans, or as a baseline JPEG"
        )
    inks = 4 if colours in ("CMYK", "YCCK", "") else 0
    stored = 2 * _SUBSAMPLED.get(subsampling, max(3, inks)) if scans > 1 else 0
    _check_memory("JPEG", width, height, stored + inks + 3)
    return Header(kind="JPEG", width=width, height=height, work=width * height * passes, colours=colours)


def _frame(data: bytes) -> tuple[int, int]:
    """Height and width by the first frame header that can be found."""
    for marker, start, end in _segments(data):
        if marker in _FRAMES and start + 9 <= min(end, len(data)):
            height, width = struct.unpack_from(">HH", data, start + 5)
            if height and width:
                return height, width
    raise unreadable("JPEG", data)


def _rare_jpeg(data: bytes) -> str:
    """What no decoder here reads in the JPEG's frame (ITU-T T.81, table B.1 and B.2.2); empty where nothing."""
    for marker, start, end in _segments(data):
        if marker == _JPEG_LS:
            return "is a JPEG-LS image"
        if marker not in _FRAMES or start + 10 > min(end, len(data)):
            continue
        precision, height, width, components = struct.unpack_from(">BHHB", data, start + 4)
        if marker in _LOSSLESS:
            return "is lossless"
        if marker in _HIERARCHICAL:
            return "is hierarchical"
        if precision != 8:
            return f"has {precision} bits a channel, and not 8"
        if not (height and width):
            return f"says that it is {width} x {height} pixels"
        if components not in (1, 3, 4):
            return f"has {components} channels, and not 1, 3 or 4"
        return ""
    return ""


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, beginning and end of each segment up to the first scan's; stray bytes between them are skipped."""
    at = 2
    for _ in range(MAX_PARTS):
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            return
        marker = data[at + 1]
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # filling, or a marker that stands alone
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, at, end
        if marker in (0xD9, 0xDA):
            return
        at = end
    raise InvalidImage(f"the JPEG image has more than {MAX_PARTS} segments; save it again")


def _png(data: bytes) -> Header:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise damaged("PNG")
    width, height, depth, colour, _, _, _ = struct.unpack_from(">IIBBBBB", data, 16)
    if not width or not height or colour not in _CHANNELS or depth not in (1, 2, 4, 8, 16):
        raise damaged("PNG")
    check_size(width, height)
    # Pillow holds more than one channel in four bytes, and 16 bits of grey in up to four.
    _check_memory("PNG", width, height, 3 + (4 if _CHANNELS[colour] > 1 or depth == 16 else 1))
    for _ in _chunks(data):
        pass
    return Header(kind="PNG", width=width, height=height, work=width * height * max(1, _CHANNELS[colour] * depth // 8))


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each chunk before IEND."""
    at = 8
    for _ in range(MAX_PARTS):
        name, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if name == b"IEND" or at + 12 > len(data):
            return
        yield name, at, end
        at = end
    raise InvalidImage(f"the PNG image has more than {MAX_PARTS} chunks; save it again")


def _gif(data: bytes) -> Header:
    if len(data) < 13:
        raise damaged("GIF")
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at, frames = 13 + _palette_bytes(flags), 0
    for _ in range(MAX_BLOCKS):
        introducer = data[at : at + 1]
        if introducer == b"\x21":
            at += 2
        elif introducer == b"\x2c" and at + 10 <= len(data):
            left, top, wide, high, flags = struct.unpack_from("<HHHHB", data, at + 1)
            width, height, frames = max(width, left + wide), max(height, top + high), frames + 1
            if frames > 1:
                raise InvalidImage("the GIF image is animated; send a single frame")
            at += 11 + _palette_bytes(flags)
        else:
            break
        at = _behind_blocks(data, at)
    else:
        raise InvalidImage(f"the GIF image has more than {MAX_BLOCKS} blocks; save it again")
    if not frames or not width or not height:
        raise damaged("GIF")
    check_size(width, height)
    _check_memory("GIF", width, height, 3 + 4)
    return Header(kind="GIF", width=width, height=height, work=width * height)


def _behind_blocks(data: bytes, at: int) -> int:
    for _ in range(MAX_BLOCKS):
        if at >= len(data) or data[at] == 0:
            return at + 1
        at += 1 + data[at]
    raise InvalidImage(f"the GIF image has more than {MAX_BLOCKS} blocks; save it again")


def _palette_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp(data: bytes) -> Header:
    if len(data) < 26:
        raise damaged("BMP")
    (size,) = struct.unpack_from("<I", data, 14)
    compression = 0
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    elif len(data) >= 34:
        width, height = struct.unpack_from("<ii", data, 18)
        (compression,) = struct.unpack_from("<I", data, 30)
    else:
        raise damaged("BMP")
    width, height = abs(width), abs(height)
    if not width or not height:
        raise damaged("BMP")
    check_size(width, height)
    if compression in _RUN_LENGTHS and max(width * height, len(data)) > MAX_RUN_PIXELS:
        raise InvalidImage(
            f"the BMP image is {width} x {height} pixels in run lengths; at most {MAX_RUN_PIXELS} pixels and bytes are "
            "accepted so: save it as a PNG"
        )
    _check_memory("BMP", width, height, 3 + 4)
    work = width * height * (64 if compression in _RUN_LENGTHS else 1)
    return Header(kind="BMP", width=width, height=height, work=work)


def _check_memory(kind: str, width: int, height: int, bytes_per_pixel: float) -> None:
    if width * height * bytes_per_pixel > MAX_DECODED_BYTES:
        most = int(MAX_DECODED_BYTES / bytes_per_pixel)
        raise InvalidImage(
            f"the {kind} image is {width} x {height} pixels; of its form at most {most} are accepted, for it takes "
            f"{bytes_per_pixel:g} bytes a pixel to decode: send a smaller one, or a baseline JPEG"
        )
