"""Recognises a graph's image preprocessing by what it does: on test images it is `preprocess_array`, bit for bit.

The definition here is NumPy, image by image; what is served is `conversion/preprocess.py`, which equals it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform.errors import UnsupportedModel
from accelform.featurizers.preprocessing import Preprocess

if TYPE_CHECKING:
    import numpy as np

    from accelform.sources.importer.job import Facts
    from accelform_runtime.numerics.quantiser import Floats

SIDES = ((320, 256), (256, 341), (97, 301), (410, 523), (224, 224), (61, 47))
"""(height, width): smaller and larger than the network's image, upright and not, and some whose scale rounds down."""

SHORTER_SIDE = 256.0
MEANS = (123.68, 116.779, 103.939)
SHOWN_DIGITS = 7


def write_test_images(folder: Path) -> None:
    """PNG files of noise, the same every time."""
    folder.mkdir()
    for index, pixels in enumerate(_pictures()):
        (folder / f"{index}.png").write_bytes(png(pixels))


def fit_preprocess(results: Path, images: Path, facts: Facts, *, name: str) -> dict[str, Any]:
    """The `Preprocess` settings that give exactly `results` (npz, by image) on the test images.

    Raises:
        UnsupportedModel: none do.
    """
    import numpy as np

    height, width = facts.image_size
    with np.load(results, allow_pickle=False) as arrays:
        found = [arrays[str(index)][0] for index in range(len(SIDES))]
    if height == width and all(array.dtype == np.float32 for array in found):
        for keep in (True, False):
            for order in ("RGB", "BGR"):
                plain = [preprocess_array(image, height, order=order, keep_aspect_ratio=keep) for image in _pictures()]
                factor = _factor(plain[0], found[0])
                if factor is not None and all(
                    np.array_equal(a if factor == 1.0 else a * np.float32(factor), b)
                    for a, b in zip(plain, found, strict=True)
                ):
                    return asdict(Preprocess(order=order, scaling_factor=factor, keep_aspect_ratio=keep))
    raise UnsupportedModel(
        f"{name} takes encoded images, but what it makes of them before {facts.image_tensor} ({height} x {width}) "
        "is not what the server does (decode, resize to 256 and crop or stretch, minus the ImageNet means, RGB or "
        f"BGR, a factor). Name {facts.image_tensor} as the input tensor and send preprocessed arrays, or use "
        "preprocess_array."
    )


def preprocess_array(image: np.ndarray, size: int, *, order: str, keep_aspect_ratio: bool) -> Floats:
    """uint8 [height, width, 3] RGB -> float32 [size, size, 3], centred; the factor is left to the caller."""
    import numpy as np

    height, width = image.shape[:2]
    if keep_aspect_ratio:
        scale = np.float32(SHORTER_SIDE) / np.float32(min(height, width))
        new = int(np.float32(height) * scale), int(np.float32(width) * scale)
        top, left = (new[0] - size) // 2, (new[1] - size) // 2
        if top < 0 or left < 0:
            return np.zeros((size, size, 3), np.float32)
        resized = _resized(image, *new)[top : top + size, left : left + size]
    else:
        resized = _resized(image, size, size)
    centred = resized - np.array(MEANS, np.float32)
    return np.ascontiguousarray(centred[..., ::-1]) if order == "BGR" else centred


def png(pixels: np.ndarray) -> bytes:
    """uint8 [height, width, 3] as a PNG file."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + pixels[row].tobytes() for row in range(height))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def _pictures() -> list[np.ndarray]:
    import numpy as np

    random = np.random.default_rng(20190501)
    return [random.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in SIDES]


def _resized(image: np.ndarray, height: int, width: int) -> Floats:
    """TensorFlow 1's bilinear resize: source = index * (in / out), no half-pixel shift, float32 throughout."""
    import numpy as np

    def samples(inside: int, outside: int) -> tuple[np.ndarray, np.ndarray, Floats]:
        source = np.arange(outside, dtype=np.float32) * (np.float32(inside) / np.float32(outside))
        floor = np.floor(source)
        before = np.minimum(floor.astype(np.int64), inside - 1)
        return before, np.minimum(before + 1, inside - 1), source - floor

    top, bottom, rows = samples(image.shape[0], height)
    left, right, columns = samples(image.shape[1], width)
    pixels = image.astype(np.float32)
    x, y = columns[None, :, None], rows[:, None, None]
    above = pixels[top][:, left] + (pixels[top][:, right] - pixels[top][:, left]) * x
    below = pixels[bottom][:, left] + (pixels[bottom][:, right] - pixels[bottom][:, left]) * x
    result: Floats = above + (below - above) * y
    return result


def _factor(plain: Floats, found: Floats) -> float | None:
    """What `plain` was multiplied with; the shortest decimal that gives the same float32."""
    import numpy as np

    place = int(np.argmax(np.abs(plain)))
    largest = plain.reshape(-1)[place]
    if plain.shape != found.shape or largest == 0 or found.reshape(-1)[place] == 0:
        return None
    ratio = float(found.reshape(-1)[place]) / float(largest)
    for digits in range(1, SHOWN_DIGITS + 1):
        candidate = float(f"{ratio:.{digits}g}")
        if np.array_equal(plain * np.float32(candidate), found):
            return candidate
    return None
