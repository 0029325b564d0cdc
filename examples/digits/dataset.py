"""The scanned digits as the service receives them: small grey PNG files, split once and for all.

The data are scikit-learn's `load_digits`: 1797 handwritten digits, 8x8 pixels, values 0..16 (a part of the UCI set
"Optical Recognition of Handwritten Digits"). A value v becomes the grey level round(v * 255 / 16).

The split is stratified and seeded: 36 images of every class are held out (360), the other 1437 are for training.
Writers are not separated: the set does not say who wrote which digit.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from sklearn.datasets import load_digits

CLASSES = 10
HELD_OUT_PER_CLASS = 36
SPLIT_SEED = 20160828


def held_out() -> list[tuple[bytes, int]]:
    """Return the 360 held-out images as (PNG file content, label), in the data set's order."""
    images, labels = held_out_pixels()
    return [(encode_png(image), int(label)) for image, label in zip(images, labels, strict=True)]


def training() -> tuple[np.ndarray, np.ndarray]:
    """Return the 1437 training images, uint8 [1437, 8, 8] grey levels, and their labels, int64 [1437]."""
    images, labels = _grey_levels()
    chosen = ~_held_out_mask(labels)
    return images[chosen], labels[chosen]


def held_out_pixels() -> tuple[np.ndarray, np.ndarray]:
    """Return the 360 held-out images, uint8 [360, 8, 8] grey levels, and their labels, int64 [360]."""
    images, labels = _grey_levels()
    chosen = _held_out_mask(labels)
    return images[chosen], labels[chosen]


def encode_png(image: np.ndarray) -> bytes:
    """Write uint8 [height, width] grey levels as a PNG file (8 bit grey, stored, hence the same bytes everywhere)."""
    height, width = image.shape
    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(image, dtype=np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, content) for kind, content in chunks)


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _grey_levels() -> tuple[np.ndarray, np.ndarray]:
    digits = load_digits()
    return np.rint(digits.images * (255.0 / 16.0)).astype(np.uint8), digits.target.astype(np.int64)


def _held_out_mask(labels: np.ndarray) -> np.ndarray:
    # RandomState, not default_rng: NumPy promises its stream never changes (NEP 19).
    random = np.random.RandomState(SPLIT_SEED)
    mask = np.zeros(len(labels), dtype=bool)
    for label in range(CLASSES):
        mask[random.permutation(np.flatnonzero(labels == label))[:HELD_OUT_PER_CLASS]] = True
    return mask
