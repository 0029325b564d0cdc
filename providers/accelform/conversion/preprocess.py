"""Azure ML's `preprocess_array` as ONNX: one decoded image of any size in, the network's centred input out.

The arithmetic is TensorFlow 1's, bit for bit: scale = 256 / shorter side in float32, both sides truncated to
integers; legacy bilinear sampling (source = index * (in / out) in float32, no half-pixel shift) interpolated along
the row, then along the column, in float32; centre crop with truncated offset; minus the ImageNet means; then
channel order and factor. Only the pixels that the crop keeps are computed.
"""

from __future__ import annotations

import numpy as np

from accelform.conversion.graph import FLOAT, INT64, GraphWriter
from accelform.featurizers.spec import Preprocess

SHORTER_SIDE = 256.0
RGB_MEANS = (123.68, 116.779, 103.939)


def preprocess(writer: GraphWriter, image: str, *, settings: Preprocess, size: int, name: str) -> str:
    """Adds the nodes: `image` uint8 [1, height, width, 3] RGB -> `name` float32 [1, size, size, 3]."""
    height, width = _sides(writer, image)
    shorter = writer.op("Cast", writer.op("Min", height, width), to=FLOAT)
    scale = writer.op("Div", writer.constant(np.float32(SHORTER_SIDE)), shorter)
    top, bottom, row_fraction = _samples(writer, height, scale, size)
    left, right, column_fraction = _samples(writer, width, scale, size)

    rows = writer.op("Gather", image, writer.op("Concat", top, bottom, axis=0), axis=1)
    left_pixels = writer.op("Cast", writer.op("Gather", rows, left, axis=2), to=FLOAT)
    right_pixels = writer.op("Cast", writer.op("Gather", rows, right, axis=2), to=FLOAT)
    along_rows = _interpolate(writer, left_pixels, right_pixels, column_fraction, [1, 1, size, 1])
    above, below = writer.ops("Split", along_rows, outputs=2, axis=1, num_outputs=2)
    pixels = _interpolate(writer, above, below, row_fraction, [1, size, 1, 1])

    plain = settings.order == "RGB" and settings.scaling_factor == 1.0
    centred = writer.op("Sub", pixels, writer.constant(np.array(RGB_MEANS, np.float32)), name=name if plain else "")
    if settings.order == "BGR":
        centred = writer.op("Gather", centred, writer.constant(np.array([2, 1, 0], np.int64)), axis=3,
                            name=name if settings.scaling_factor == 1.0 else "")  # fmt: skip
    if settings.scaling_factor != 1.0:
        centred = writer.op("Mul", centred, writer.constant(np.float32(settings.scaling_factor)), name=name)
    return centred


def _sides(writer: GraphWriter, image: str) -> tuple[str, str]:
    one = writer.constant(np.array([1, 1], np.int64))
    sides = writer.op("Shape", image, start=1, end=3)
    height, width = writer.ops("Split", sides, one, outputs=2, axis=0)
    return height, width


def _samples(writer: GraphWriter, side: str, scale: str, size: int) -> tuple[str, str, str]:
    """Of one direction: indexes before and after each kept sample (int64) and the fraction between (float32)."""
    side_as_float = writer.op("Cast", side, to=FLOAT)
    resized = writer.op("Cast", writer.op("Mul", side_as_float, scale), to=INT64)
    margin = writer.op("Sub", resized, writer.constant(np.array([size], np.int64)))
    offset = writer.op("Div", margin, writer.constant(np.array([2], np.int64)))
    indexes = writer.op("Add", writer.constant(np.arange(size, dtype=np.int64), name=f"indexes_{size}"), offset)
    ratio = writer.op("Div", side_as_float, writer.op("Cast", resized, to=FLOAT))
    source = writer.op("Mul", writer.op("Cast", indexes, to=FLOAT), ratio)
    floor = writer.op("Floor", source)
    fraction = writer.op("Sub", source, floor)
    last = writer.op("Sub", side, writer.constant(np.array([1], np.int64)))
    before = writer.op("Min", writer.op("Cast", floor, to=INT64), last)
    after = writer.op("Min", writer.op("Add", before, writer.constant(np.array([1], np.int64))), last)
    return before, after, fraction


def _interpolate(writer: GraphWriter, first: str, second: str, fraction: str, shape: list[int]) -> str:
    weight = writer.op("Reshape", fraction, writer.constant(np.array(shape, np.int64)))
    difference = writer.op("Sub", second, first)
    return writer.op("Add", first, writer.op("Mul", difference, weight))
