"""Images that Pillow decodes: PNG, GIF, BMP, and JPEGs with which something is amiss."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from accelform_runtime.errors import InvalidImage
from accelform_runtime.worker import images

Image.MAX_IMAGE_PIXELS = None  # images.MAX_PIXELS is stricter and comes with a size in its message
Image.preinit()  # loads the decoders now rather than in the first call


def decode(data: bytes, kind: str) -> NDArray[np.uint8]:
    """The image in `data`, which is a `kind`, as uint8 [height, width, 3], RGB. Raises InvalidImage."""
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            images.check_size(*image.size)
            if kind == "GIF" and getattr(image, "n_frames", 1) > 1:
                raise InvalidImage("the GIF image is animated; send a single frame")
            image.load()
            return _rgb(image)
    except InvalidImage:
        raise
    except Exception as error:  # decoders raise whatever the damage leads them to
        raise InvalidImage(f"the {kind} image is damaged or cut short; send the complete file") from error


def is_adobe(data: bytes) -> bool:
    """Whether the JPEG in `data` has Adobe's marker. Raises InvalidImage where it cannot be opened."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            return "adobe" in image.info
    except Exception as error:
        raise InvalidImage("the JPEG image is damaged or cut short; send the complete file") from error


def from_cmyk(inks: NDArray[np.uint8], *, inverted: bool) -> NDArray[np.uint8]:
    """RGB from a JPEG's stored inks, [height, width, 4], by TensorFlow's integer product.

    It takes the stored values as they are where Adobe's marker says that they are `inverted`: what is left of the
    light, not how much ink there is.
    """
    light = inks.astype(np.uint16) if inverted else 255 - inks.astype(np.uint16)
    return (light[..., :3] * light[..., 3:] // 255).astype(np.uint8)


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "CMYK":
        # Pillow inverts every CMYK JPEG, with the marker or without.
        return from_cmyk(255 - np.asarray(image), inverted="adobe" in image.info)
    if image.mode.startswith("I"):
        high = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(high[..., np.newaxis], 3, axis=-1)
    return np.array(image.convert("RGB"), dtype=np.uint8)
