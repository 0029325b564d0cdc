"""A proof, for one image, that a convolution's sums don't depend on who adds them, and in which order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelform_runtime.network.arithmetic import vectors
from accelform_runtime.network.steps import Window
from accelform_runtime.numerics.format import EXACT_INTEGERS_BITS, NumberFormat
from accelform_runtime.numerics.quantiser import Floats, block_exponents

SMALLEST_EXPONENT = -126
"""Of float32's normal numbers; below it, sums of steps would no longer be exact."""

NEVER = 900
"""An exponent that no vector has."""


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


def certify(maps: Floats, weights: Floats, *, window: Window, fmt: NumberFormat) -> Certificate:
    """Checks every sum of `arithmetic.convolve` on the same arguments."""
    rows, columns = window.out_sides(*maps.shape[:2])
    smallest = np.full((rows * columns, weights.shape[3]), NEVER, np.int32)
    magnitude = np.zeros(smallest.shape, np.float64)
    shift = 2 * (1 - (fmt.mantissa_bits or 0))
    for pixels, vector in vectors(maps, weights, window, fmt):
        product = np.abs(pixels).astype(np.float64) @ np.abs(vector).astype(np.float64)
        steps = block_exponents(pixels, fmt=fmt, axis=1) + block_exponents(vector, fmt=fmt, axis=0) + shift
        smallest = np.minimum(smallest, np.where(product > 0, steps, NEVER))
        magnitude += product
    proven = (magnitude <= np.ldexp(1.0, smallest + EXACT_INTEGERS_BITS)) & (smallest >= SMALLEST_EXPONENT)
    return Certificate(outputs=proven.size, proven=int(proven.sum()))
