"""The FPGA's operations on one image in NumPy, in the order that the number format defines.

Maps are float32 [height, width, channels].

Inside a block all products are multiples of one power of two and their sum stays below 2^24 of it, so float32 adds them
exactly in any order; a matrix product per block is therefore exact, and only the additions of blocks can round.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from accelform_runtime.numerics.format import EXACT_INTEGERS_BITS, NumberFormat
from accelform_runtime.numerics.quantiser import Floats, block_exponents

SMALLEST_EXPONENT = -126
"""Of float32's normal numbers; below it, sums of steps would no longer be exact."""


def pointwise(values: Floats, fmt: NumberFormat) -> Floats:
    """Rounds to the point-wise type (nearest, ties to even); beyond its range the result is infinite."""
    if fmt.pointwise == "float32":
        return values
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def convolve(maps: Floats, weights: Floats, *, stride: int, padding: int, fmt: NumberFormat) -> Floats:
    """A convolution of quantised `maps` [h, w, in] with quantised `weights` [kernel, kernel, in, out], without bias.

    From +0, vectors are added in float32 in increasing order: taps row by row outside, channel blocks inside.
    """
    shape = _out_shape(maps, weights, stride, padding)
    total = np.zeros((shape[0] * shape[1], weights.shape[3]), np.float32)
    for pixels, vector in _vectors(maps, weights, stride, padding, fmt):
        total += pixels @ vector
    return total.reshape(*shape, -1)


def add(left: Floats, right: Floats, fmt: NumberFormat) -> Floats:
    """The sum in the point-wise type; float32 has so many more digits than float16 that two roundings are harmless."""
    return pointwise(left + right, fmt)


def relu(values: Floats) -> Floats:
    """max(value, 0), where every zero is +0."""
    return np.maximum(values, np.float32(0)) + np.float32(0)


def max_pool_same(maps: Floats) -> Floats:
    """3x3 maximum with stride 2 and TensorFlow's "SAME" padding: none before, one after where the size is even."""
    height, width, _ = maps.shape
    out_height, out_width = -(-height // 2), -(-width // 2)
    before_rows, before_columns = (
        (max(2 * (o - 1) + 3 - s, 0)) // 2 for o, s in ((out_height, height), (out_width, width))
    )
    padded = np.pad(maps, ((before_rows, 2), (before_columns, 2), (0, 0)), constant_values=np.float32(-np.inf))
    windows = [
        padded[row : row + 2 * out_height : 2, column : column + 2 * out_width : 2][:out_height, :out_width]
        for row in range(3)
        for column in range(3)
    ]
    largest: Floats = np.maximum.reduce(windows)
    return largest


def subsample(maps: Floats, stride: int) -> Floats:
    """Every `stride`-th row and column."""
    return maps[::stride, ::stride]


def spatial_mean(maps: Floats, fmt: NumberFormat) -> Floats:
    """[channels]: the mean over height and width, added in float64 (exact for float16 values in any order).

    The quotient is rounded to float32, then to the point-wise type.
    """
    height, width, _ = maps.shape
    total = maps.astype(np.float64).sum(axis=(0, 1))
    return pointwise((total / (height * width)).astype(np.float32), fmt)


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """How many of a convolution's sums are proven independent of the order of addition.

    A sum is proven when the magnitudes of its products add up to at most 2^24 of the smallest step among its vectors:
    then every partial sum is exact in float32, whatever the order, with or without fused multiply-add.
    """

    outputs: int
    proven: int

    @property
    def complete(self) -> bool:
        return self.proven == self.outputs


def certify(maps: Floats, weights: Floats, *, stride: int, padding: int, fmt: NumberFormat) -> Certificate:
    """Checks every sum of `convolve` on the same arguments."""
    never = 900
    shape = _out_shape(maps, weights, stride, padding)
    smallest = np.full((shape[0] * shape[1], weights.shape[3]), never, np.int32)
    magnitude = np.zeros(smallest.shape, np.float64)
    shift = 2 * (1 - (fmt.mantissa_bits or 0))
    for pixels, vector in _vectors(maps, weights, stride, padding, fmt):
        product = np.abs(pixels).astype(np.float64) @ np.abs(vector).astype(np.float64)
        steps = block_exponents(pixels, fmt=fmt, axis=1) + block_exponents(vector, fmt=fmt, axis=0) + shift
        smallest = np.minimum(smallest, np.where(product > 0, steps, never))
        magnitude += product
    proven = (magnitude <= np.ldexp(1.0, smallest + EXACT_INTEGERS_BITS)) & (smallest >= SMALLEST_EXPONENT)
    return Certificate(outputs=proven.size, proven=int(proven.sum()))


def _vectors(
    maps: Floats, weights: Floats, stride: int, padding: int, fmt: NumberFormat
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of operands in the order of addition: [positions, block] of the maps, [block, out] of the weights."""
    kernel_height, kernel_width, channels, _ = weights.shape
    height, width = _out_shape(maps, weights, stride, padding)
    padded = np.pad(maps, ((padding, padding), (padding, padding), (0, 0)))
    block = fmt.block_size or channels
    for row in range(kernel_height):
        for column in range(kernel_width):
            rows = slice(row, row + stride * (height - 1) + 1, stride)
            columns = slice(column, column + stride * (width - 1) + 1, stride)
            pixels = np.ascontiguousarray(padded[rows, columns]).reshape(-1, channels)
            for start in range(0, channels, block):
                yield pixels[:, start : start + block], weights[row, column, start : start + block]


def _out_shape(maps: Floats, weights: Floats, stride: int, padding: int) -> tuple[int, int]:
    height, width = (
        (size + 2 * padding - kernel) // stride + 1
        for size, kernel in zip(maps.shape[:2], weights.shape[:2], strict=True)
    )
    return height, width
