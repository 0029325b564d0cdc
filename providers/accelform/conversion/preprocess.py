"""Azure ML's `preprocess_array` as ONNX: one decoded image of any size in, the network's centred input out.

The arithmetic is TensorFlow 1's, bit for bit: scale = 256 / shorter side in float32, both sides truncated to
integers; legacy bilinear sampling (source = index * (in / out) in float32, no half-pixel shift) interpolated along
the row, then along the column, in float32; centre crop with truncated offset; minus the ImageNet means; then
channel order and factor. Only the pixels that the crop keeps are computed. Where the aspect ratio is not kept, the
whole image is resized to the network's height and width, and nothing is cropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelform.conversion.graph import FLOAT, INT64, GraphWriter
from accelform.featurizers.preprocessing import Preprocess

SHORTER_SIDE = 256.0
RGB_MEANS = (123.68, 116.779, 103.939)


def preprocess(writer: GraphWriter, image: str, *, settings: Preprocess, height: int, width: int, name: str) -> str:
    """Adds the nodes: `image` uint8 [1, any, any, 3] RGB -> `name` float32 [1, height, width, 3]."""
    rows, columns = _sides(writer, image)
    scale = None
    if settings.keep_aspect_ratio:
        shorter = writer.op("Cast", writer.op("Min", rows, columns), to=FLOAT)
        scale = writer.op("Div", writer.constant(np.float32(SHORTER_SIDE)), shorter)
    top, bottom, row_fraction = _samples(writer, rows, scale, height)
    left, right, column_fraction = _samples(writer, columns, scale, width)

    lines = writer.op("Gather", image, writer.op("Concat", top, bottom, axis=0), axis=1)
    left_pixels = writer.op("Cast", writer.op("Gather", lines, left, axis=2), to=FLOAT)
    right_pixels = writer.op("Cast", writer.op("Gather", lines, right, axis=2), to=FLOAT)
    along_rows = _interpolate(writer, left_pixels, right_pixels, column_fraction, [1, 1, width, 1])
    above, below = writer.ops("Split", along_rows, outputs=2, axis=1, num_outputs=2)
    pixels = _interpolate(writer, above, below, row_fraction, [1, height, 1, 1])

    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if settings.means:
        steps.append(("Sub", [writer.constant(np.array(RGB_MEANS, np.float32))], {}))
    if settings.order == "BGR":
        steps.append(("Gather", [writer.integers(2, 1, 0)], {"axis": 3}))
    if settings.scaling_factor != 1.0:
        steps.append(("Mul", [writer.constant(np.float32(settings.scaling_factor))], {}))
    steps = steps or [("Identity", [], {})]
    for index, (op, constants, attributes) in enumerate(steps, start=1):
        pixels = writer.op(op, pixels, *constants, name=name if index == len(steps) else "", **attributes)
    return pixels


def _sides(writer: GraphWriter, image: str) -> tuple[str, str]:
    sides = writer.op("Shape", image, start=1, end=3)
    height, width = writer.ops("Split", sides, writer.integers(1, 1), outputs=2, axis=0)
    return height, width


def _samples(writer: GraphWriter, side: str, scale: str | None, size: int) -> tuple[str, str, str]:
    """Of one direction: indexes before and after each kept sample (int64) and the fraction between (float32).

    Without `scale` the side becomes `size` long; with it the middle of the longer result is kept.
    """
    side_as_float = writer.op("Cast", side, to=FLOAT)
    indexes = writer.constant(np.arange(size, dtype=np.int64), name=f"indexes_{size}")
    if scale is None:
        resized = writer.integers(size)
    else:
        resized = writer.op("Cast", writer.op("Mul", side_as_float, scale), to=INT64)
        margin = writer.op("Sub", resized, writer.integers(size))
        indexes = writer.op("Add", indexes, writer.op("Div", margin, writer.integers(2)))
    ratio = writer.op("Div", side_as_float, writer.op("Cast", resized, to=FLOAT))
    source = writer.op("Mul", writer.op("Cast", indexes, to=FLOAT), ratio)
    floor = writer.op("Floor", source)
    fraction = writer.op("Sub", source, floor)
    last = writer.op("Sub", side, writer.integers(1))
    before = writer.op("Min", writer.op("Cast", floor, to=INT64), last)
    after = writer.op("Min", writer.op("Add", before, writer.integers(1)), last)
    return before, after, fraction


def _interpolate(writer: GraphWriter, first: str, second: str, fraction: str, shape: list[int]) -> str:
    weight = writer.op("Reshape", fraction, writer.constant(np.array(shape, np.int64)))
    difference = writer.op("Sub", second, first)
    return writer.op("Add", first, writer.op("Mul", difference, weight))
