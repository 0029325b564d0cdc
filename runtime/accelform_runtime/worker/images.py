"""Image bytes to pixels, as TensorFlow's decode_png and decode_jpeg with channels=3 see them.

A JPEG is decoded as TensorFlow does it: the fast DCT, smooth upsampling, CMYK by an integer product. Grey is repeated,
alpha and palette transparency are dropped without blending, of 16 bits the high byte counts, and EXIF orientation is
not applied. tests/contract/worker/test_tensorflow_pixels.py compares the two, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from accelform_runtime.worker import headers

Room = Callable[[int], Any]
"""Gives memory for so many bytes, as a buffer that can be written."""


def _new_room(size: int) -> NDArray[np.uint8]:
    return np.empty(size, np.uint8)


def decode(data: bytes, room: Room = _new_room, header: headers.Header | None = None) -> NDArray[np.uint8]:
    """The image in `data` as uint8 [height, width, 3], RGB, in memory that `room` gives; `header` where it was read.

    Raises InvalidImage when `data` is no JPEG, PNG, GIF or BMP, is damaged or cut short, is animated, or would cost
    more than `headers` takes.
    """
    header = header or headers.read(data)
    pixels = np.frombuffer(room(header.width * header.height * 3), np.uint8)
    pixels = pixels.reshape(header.height, header.width, 3)
    if header.colours in ("", "CMYK", "YCCK") or not _fast(data, pixels):
        from accelform_runtime.worker import pictures  # only where needed: its imports take 60 ms

        pictures.decode(data, header, pixels)
    return pixels


def _fast(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Whether the strict decoder took the JPEG; its pixels are there then.

    If not it is damaged, or complete with an oddity such as stray bytes between its parts. Pillow tells the two apart;
    its accurate DCT is up to 10 levels away from the fast one.
    """
    try:
        simplejpeg.decode_jpeg(data, "RGB", fastdct=True, buffer=pixels)
    except ValueError:
        return False
    return True
