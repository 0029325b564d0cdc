"""Image bytes to pixels, as TensorFlow's decode_png and decode_jpeg with channels=3 see them.

A JPEG is decoded as TensorFlow does it: the fast DCT, smooth upsampling, CMYK by an integer product. Grey is repeated,
alpha and palette transparency are dropped without blending, of 16 bits the high byte counts, and EXIF orientation is
not applied. tests/contract/worker/test_tensorflow_pixels.py compares the two, bit for bit.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidImage

MAX_PIXELS: Final = 40_000_000
"""Most pixels an image may have by its header; checked before any is decoded."""
MAX_ASPECT_RATIO: Final = 64
"""Longest side over shortest; the model scales the shortest side to 256, which blows up the other one as much."""
MAX_SCANS: Final = 200
"""Most scans of a progressive JPEG. A few hundred bytes a scan can otherwise keep a decoder busy for minutes."""

_MAGIC: Final = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)
_START_OF_SCAN: Final = b"\xff\xda"


def decode(data: bytes) -> NDArray[np.uint8]:
    """The image in `data` as uint8 [height, width, 3], RGB.

    Raises InvalidImage when `data` is no JPEG, PNG, GIF or BMP, is damaged or cut short, is animated, or is
    larger than MAX_PIXELS.
    """
    kind = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if kind is None:
        what = "is empty" if not data else "is not a JPEG, PNG, GIF or BMP image"
        raise InvalidImage(f"the input {what}; send the bytes of an image file")
    if kind == "JPEG":
        return _jpeg(data)
    from accelform_runtime.worker import pictures  # only where needed: its imports take 60 ms

    return pictures.decode(data, kind)


def check_size(width: int, height: int) -> None:
    """Raises InvalidImage for a header that promises more pixels, or a narrower image, than is taken."""
    if width * height > MAX_PIXELS:
        raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_PIXELS} pixels are accepted")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_ASPECT_RATIO}:1 is accepted")


def _jpeg(data: bytes) -> NDArray[np.uint8]:
    if data.count(_START_OF_SCAN) > MAX_SCANS:
        raise InvalidImage(f"the JPEG image has more than {MAX_SCANS} scans; save it again as a baseline JPEG")
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(width, height)
        from_cmyk = colours in ("CMYK", "YCCK")
        stored: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "CMYK" if from_cmyk else "RGB", fastdct=True)
    except ValueError:
        # Damaged, or complete with an oddity such as stray bytes between its parts. Pillow tells the two apart; its
        # accurate DCT is up to 10 levels away from the fast one.
        from accelform_runtime.worker import pictures

        return pictures.decode(data, "JPEG")
    if not from_cmyk:
        return stored
    from accelform_runtime.worker import pictures

    return pictures.from_cmyk(stored, inverted=pictures.is_adobe(data))
