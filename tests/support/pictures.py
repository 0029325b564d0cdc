"""Images of every form that decoders meet, made from the same few pixels."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIZES = ((1, 1), (8, 3), (17, 255), (61, 47), (64, 64), (240, 320))
"""Height and width: one pixel, odd ones, and whole blocks."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Waves with a little noise, so that every frequency and every rounding has something to do."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin(x / 7 + k) + 20 * np.cos(y / 5 * k + 1) for k in range(channels)]
    noise = np.random.default_rng(height * 1000 + width).normal(0, 8, (height, width, channels))
    return (np.stack(waves, -1) + noise).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def picture(height: int, width: int, mode: str = "RGB") -> Image.Image:
    """An image of that mode."""
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    values = pixels(height, width, channels)
    return Image.fromarray(values[..., 0] if channels == 1 else values, mode)


def progressive(scans: int) -> bytes:
    """A JPEG of 64 x 64 whose last scan comes again and again."""
    data = encoded(picture(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * scans + data[-2:]


def header_of(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its header."""
    at = next(data.index(mark) for mark in (b"\xff\xc0", b"\xff\xc2") if mark in data) + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


def without_adobe(data: bytes) -> bytes:
    """A JPEG without Adobe's marker."""
    start = data.index(b"\xff\xee")
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    return data[:start] + data[start + 2 + length :]


def jpegs() -> Iterator[tuple[str, bytes]]:
    """Names and files: baseline and progressive, every subsampling, grey, CMYK, RGB as it is, EXIF, restarts."""
    for height, width in SIZES:
        for progressive in (False, True):
            what = f"{height}x{width} {'progressive' if progressive else 'baseline'}"
            for subsampling, quality in ((0, 75), (1, 75), (2, 30), (2, 75), (2, 95)):
                options = {"subsampling": subsampling, "quality": quality, "progressive": progressive}
                name = f"{what} {('4:4:4', '4:2:2', '4:2:0')[subsampling]} quality {quality}"
                yield name, encoded(picture(height, width), "JPEG", **options)
            yield f"{what} grey", encoded(picture(height, width, "L"), "JPEG", progressive=progressive)
            yield f"{what} RGB", encoded(picture(height, width), "JPEG", keep_rgb=True, progressive=progressive)
            inks = encoded(picture(height, width, "CMYK"), "JPEG", progressive=progressive)
            yield f"{what} CMYK of Adobe", inks
            yield f"{what} CMYK", without_adobe(inks)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "EXIF rotated", encoded(picture(40, 60), "JPEG", exif=exif)
    plain = encoded(picture(64, 64), "JPEG")
    yield "restart markers", encoded(picture(64, 64), "JPEG", restart_marker_blocks=4)
    yield "bytes behind the end", plain + b"more" * 9


def odd_jpeg() -> bytes:
    """A complete JPEG with stray bytes between its parts, which strict decoders turn down."""
    plain = encoded(picture(64, 64), "JPEG")
    start = plain.index(b"\xff\xda")
    return plain[:start] + b"\x00\x01\x02" + plain[start:]


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *, interlaced: bool = False) -> bytes:
    """A PNG written by hand, for the forms that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, colour, 0, 0, interlaced])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def lossless() -> Iterator[tuple[str, bytes]]:
    """Names and files of PNGs of every depth and colour, and a GIF."""
    random = np.random.default_rng(3)
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield f"PNG {mode}", encoded(picture(20, 30, mode), "PNG")
    palette = picture(20, 30).quantize(16)
    yield "PNG palette", encoded(palette, "PNG")
    yield "PNG palette with a transparent colour", encoded(palette, "PNG", transparency=3)
    yield "PNG black and white", encoded(picture(20, 30).convert("1"), "PNG")
    for bits in (1, 2, 4):
        yield f"PNG of {bits} bits", png(8, 4, bits, 0, b"".join(b"\0" + random.bytes(bits) for _ in range(4)))
    for colour, samples in ((0, 1), (2, 3), (4, 2), (6, 4)):
        rows = b"".join(b"\0" + random.bytes(10 * samples) for _ in range(4))
        yield f"PNG of 16 bits, {samples} samples", png(5, 4, 16, colour, rows)
    values = pixels(8, 8)
    passes = [values[y::down, x::right] for x, y, right, down in ADAM7]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    yield "PNG interlaced", png(8, 8, 8, 2, rows, interlaced=True)
    yield "GIF", encoded(palette, "GIF")


def bitmaps() -> Iterator[tuple[str, bytes]]:
    """Names and files of BMPs, which TensorFlow's decode_png refuses."""
    yield "BMP", encoded(picture(20, 30), "BMP")
    yield "BMP palette", encoded(picture(20, 30).quantize(16), "BMP")
    yield "BMP grey", encoded(picture(20, 30, "L"), "BMP")
