"""What the FPGA computes in each step, on one image in NumPy, in the order that the number format defines.

Maps are float32 [height, width, channels].

Inside a block all products are multiples of one power of two and their sum stays below 2^24 of it, so float32 adds them
exactly in any order; a matrix product per block is therefore exact, and only the additions of blocks can round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from accelform_runtime.network.steps import Window
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Doubles, Floats


def pointwise(values: Floats, fmt: NumberFormat) -> Floats:
    """Rounds to the point-wise type (nearest, ties to even); beyond its range the result is infinite."""
    if fmt.pointwise == "float32":
        return values
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def relu(values: Floats) -> Floats:
    """max(value, 0), where every zero is +0."""
    return np.maximum(values, np.float32(0)) + np.float32(0)


def convolve(maps: Floats, weights: Floats, *, window: Window, fmt: NumberFormat) -> Floats:
    """A convolution of quantised `maps` [h, w, in] with quantised `weights` HWIO, without bias.

    From +0, vectors are added in float32 in increasing order: taps row by row outside, channel blocks inside.
    """
    rows, columns = window.out_sides(*maps.shape[:2])
    total = np.zeros((rows * columns, weights.shape[3]), np.float32)
    for pixels, vector in vectors(maps, weights, window, fmt):
        total += pixels @ vector
    return total.reshape(rows, columns, -1)


def vectors(maps: Floats, weights: Floats, window: Window, fmt: NumberFormat) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of operands in the order of addition: [positions, block] of the maps, [block, out] of the weights."""
    channels = maps.shape[2]
    block = fmt.block_size or channels
    for tap, pixels in zip(np.ndindex(*window.kernel), taps(maps, window, np.float32(0)), strict=True):
        positions = np.ascontiguousarray(pixels).reshape(-1, channels)
        for start in range(0, channels, block):
            yield positions[:, start : start + block], weights[tap][start : start + block]


def taps(maps: Floats, window: Window, padding: np.float32) -> Iterator[Floats]:
    """What lies under each place of the kernel, row by row: [out height, out width, channels] for each."""
    top, left, bottom, right = window.padding
    padded = np.pad(maps, ((top, bottom), (left, right), (0, 0)), constant_values=padding)
    sides = window.out_sides(*maps.shape[:2])
    for tap in np.ndindex(*window.kernel):
        spans = (
            slice(index * apart, index * apart + step * (side - 1) + 1, step)
            for index, apart, step, side in zip(tap, window.dilation, window.stride, sides, strict=True)
        )
        yield padded[tuple(spans)]


def add(left: Floats, right: Floats, fmt: NumberFormat) -> Floats:
    """The sum in the point-wise type; float32 has so many more digits than float16 that two roundings are harmless."""
    return pointwise(left + right, fmt)


def affine(maps: Floats, scale: Floats, bias: Floats, fmt: NumberFormat) -> Floats:
    """maps * scale + bias per channel; both factors, the product and the sum are of the point-wise type."""
    return pointwise(pointwise(maps * pointwise(scale, fmt), fmt) + pointwise(bias, fmt), fmt)


def concat(maps: Sequence[Floats]) -> Floats:
    """Side by side in their channels."""
    return np.concatenate(maps, axis=2)


def max_pool(maps: Floats, window: Window) -> Floats:
    """The largest value under the window, where every zero is +0."""
    largest: Floats = np.maximum.reduce(list(taps(maps, window, np.float32(-np.inf)))) + np.float32(0)
    return largest


def average_pool(maps: Floats, window: Window, fmt: NumberFormat) -> Floats:
    """The mean of the values under the window, padding not counted; added in float64, taps row by row."""
    total = np.zeros((*window.out_sides(*maps.shape[:2]), maps.shape[2]), np.float64)
    for values in taps(maps, window, np.float32(0)):
        total += values
    return _narrowed(total / counts(window, *maps.shape[:2]), fmt)


def counts(window: Window, height: int, width: int) -> Doubles:
    """How many values of maps [height, width] are under the window at each place: [out height, out width, 1]."""
    ones = np.ones((height, width, 1), np.float32)
    total: Doubles = np.add.reduce(list(taps(ones, window, np.float32(0))), axis=0, dtype=np.float64)
    return total


def spatial_mean(maps: Floats, fmt: NumberFormat) -> Floats:
    """[1, 1, channels]: the mean over height and width, added in float64 (exact for float16 values in any order)."""
    total = maps.astype(np.float64).sum(axis=(0, 1), keepdims=True)
    return _narrowed(total / (maps.shape[0] * maps.shape[1]), fmt)


def normalise(maps: Floats, scale: Floats, epsilon: float, fmt: NumberFormat) -> Floats:
    """maps / sqrt(max(sum over channels of maps^2, epsilon)) * scale, all of it in float64."""
    wide = maps.astype(np.float64)
    length = np.sqrt(np.maximum((wide * wide).sum(axis=2, keepdims=True), epsilon))
    return _narrowed(wide / length * scale.astype(np.float64), fmt)


def _narrowed(values: npt.NDArray[np.float64], fmt: NumberFormat) -> Floats:
    """Rounded to float32, then to the point-wise type."""
    return pointwise(values.astype(np.float32), fmt)
