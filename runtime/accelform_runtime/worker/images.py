"""Image bytes to pixels, as TensorFlow's decode_png and decode_jpeg with channels=3 see them.

Grey is repeated, alpha and palette transparency are dropped without blending, of 16 bits the high byte counts,
CMYK becomes RGB by TensorFlow's integer product, and EXIF orientation is not applied.
"""

from __future__ import annotations

import io
import re
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
_START_OF_SCAN: Final = re.compile(rb"\xff\xda")

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is stricter and comes with a size in its message
Image.preinit()  # loads the decoders now rather than in the first call


def decode(data: bytes) -> NDArray[np.uint8]:
    """The image in `data` as uint8 [height, width, 3], RGB.

    Raises InvalidImage when `data` is no JPEG, PNG, GIF or BMP, is damaged or cut short, is animated, or is
    larger than MAX_PIXELS.
    """
    kind = next((name for magic, name in _MAGIC if data.startswith(magic)), None)
    if kind is None:
        what = "is empty" if not data else "is not a JPEG, PNG, GIF or BMP image"
        raise InvalidImage(f"the input {what}; send the bytes of an image file")
    if kind == "JPEG" and sum(1 for _ in _START_OF_SCAN.finditer(data)) > MAX_SCANS:
        raise InvalidImage(f"the JPEG image has more than {MAX_SCANS} scans; save it again as a baseline JPEG")
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_PIXELS} pixels are accepted")
            if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
                raise InvalidImage(f"the image is {width} x {height} pixels; at most {MAX_ASPECT_RATIO}:1 is accepted")
            if kind == "GIF" and getattr(image, "n_frames", 1) > 1:
                raise InvalidImage("the GIF image is animated; send a single frame")
            image.load()
            return _rgb(image)
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise whatever the damage leads them to
        raise InvalidImage(f"the {kind} image is damaged or cut short; send the complete file") from error


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "CMYK":
        # Pillow inverts every CMYK JPEG; TensorFlow takes the values as they are only where an Adobe marker says so.
        inks = np.asarray(image, dtype=np.uint16)
        if "adobe" in image.info:
            inks = 255 - inks
        return (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    if image.mode.startswith("I"):
        high = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(high[..., np.newaxis], 3, axis=-1)
    return np.array(image.convert("RGB"), dtype=np.uint8)
