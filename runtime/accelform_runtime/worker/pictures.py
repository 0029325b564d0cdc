"""Images that Pillow decodes: PNG, GIF, BMP, and JPEGs with which something is amiss; and JPEGs of four inks."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray
from PIL import Image

from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker import headers

Image.MAX_IMAGE_PIXELS = None  # headers.MAX_PIXELS is stricter and comes with a size in its message
Image.preinit()  # loads the decoders now rather than in the first call

ROWS_AT_ONCE = 256
"""Rows that are converted together: what lies between two forms of an image is never there as a whole."""


def decode(data: bytes, header: headers.Header, pixels: NDArray[np.uint8]) -> None:
    """Writes the image in `data` to `pixels`, uint8 [height, width, 3], RGB. Raises InvalidImage."""
    try:
        if header.colours in ("CMYK", "YCCK") and _four_inks(data, pixels):
            return
        with Image.open(io.BytesIO(_bare(data, header.kind)), formats=(header.kind,)) as image:
            if image.size != (header.width, header.height):
                raise headers.damaged(header.kind)
            image.load()
            inverted = "adobe" in image.info
            if header.height <= ROWS_AT_ONCE:
                pixels[:] = _rgb(image, inverted=inverted)
                return
            for top in range(0, header.height, ROWS_AT_ONCE):
                end = min(header.height, top + ROWS_AT_ONCE)
                pixels[top:end] = _rgb(image.crop((0, top, header.width, end)), inverted=inverted)
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise whatever the damage leads them to
        raise headers.unreadable(header.kind, data) from error


def from_cmyk(inks: NDArray[np.uint8], *, inverted: bool) -> NDArray[np.uint8]:
    """RGB from a JPEG's stored inks, [height, width, 4], by TensorFlow's integer product.

    It takes the stored values as they are where Adobe's marker says that they are `inverted`: what is left of the
    light, not how much ink there is.
    """
    light = inks.astype(np.uint16) if inverted else 255 - inks.astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


def _bare(data: bytes, kind: str) -> bytes:
    if kind == "PNG":
        return headers.bare_png(data)
    return headers.bare_jpeg(data) if kind == "JPEG" else data


def _four_inks(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Whether the strict decoder took the JPEG; its pixels are there then."""
    try:
        inks: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "CMYK", fastdct=True)
    except ValueError:
        return False
    with Image.open(io.BytesIO(headers.bare_jpeg(data)), formats=("JPEG",)) as image:
        inverted = "adobe" in image.info
    for top in range(0, len(pixels), ROWS_AT_ONCE):
        rows = slice(top, top + ROWS_AT_ONCE)
        pixels[rows] = from_cmyk(inks[rows], inverted=inverted)
    return True


def _rgb(image: Image.Image, *, inverted: bool) -> NDArray[np.uint8]:
    if image.mode == "CMYK":
        # Pillow inverts every CMYK JPEG, with the marker or without.
        return from_cmyk(255 - np.asarray(image), inverted=inverted)
    if image.mode.startswith("I"):
        high = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(high[..., np.newaxis], 3, axis=-1)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
