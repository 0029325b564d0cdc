"""Block floating point in NumPy: this is the definition; the served graph has to equal it bit for bit.

A block of values shares one exponent e, the exponent of its largest magnitude (from the bits, never by a logarithm,
which is wrong just below a power of two). With m mantissa bits the step is s = 2^(e + 1 - m), and a value v becomes
q*s with q = clip(round_half_even(v / s), -(2^m - 1), 2^m - 1). e is clamped to the exponent range first: a block
above it saturates, a block below it is rounded with the smallest step. Zeros come out as +0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics.format import NumberFormat

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


def quantise(values: npt.ArrayLike, *, fmt: NumberFormat, axis: int) -> Floats:
    """Rounds `values` to `fmt`, in blocks of `fmt.block_size` along `axis`; a short last block is a block of its own.

    Returns float32 of the same shape, exact multiples of the blocks' steps. A format without blocks returns the
    values as float32.

    Raises:
        NotFinite: a value is NaN or infinite.
    """
    array = _finite(values)
    if not fmt.quantised:
        return array.copy()
    blocks = _blocked(array, fmt, axis)
    step_exponents = _exponents(blocks, fmt)[..., np.newaxis] + 1 - (fmt.mantissa_bits or 0)
    # float64 holds value / step exactly even where the step is below float32's normal range.
    integers = np.rint(np.ldexp(blocks.astype(np.float64), -step_exponents))
    integers = np.clip(integers, -fmt.largest_integer, fmt.largest_integer)
    rounded = (np.ldexp(integers, step_exponents) + 0.0).astype(np.float32)
    flat = rounded.reshape(*rounded.shape[:-2], -1)[..., : array.shape[axis]]
    return np.ascontiguousarray(np.moveaxis(flat, -1, axis))


def block_exponents(values: npt.ArrayLike, *, fmt: NumberFormat, axis: int) -> Integers:
    """The shared exponents that `quantise` uses: `axis` becomes ceil(length / block_size) long, int32.

    A block of zeros has the smallest exponent.

    Raises:
        NotFinite: a value is NaN or infinite.
    """
    return np.moveaxis(_exponents(_blocked(_finite(values), fmt, axis), fmt), -1, axis)


def _finite(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NotFinite(f"the value at {index} is {array[index]}; block floating point holds finite values only")
    return array


def _blocked(array: Floats, fmt: NumberFormat, axis: int) -> Floats:
    """[..., blocks, block_size], the blocked axis last; zeros fill up the last block, which changes no exponent."""
    block_size = fmt.block_size or array.shape[axis]
    last = np.moveaxis(array, axis, -1)
    missing = -last.shape[-1] % block_size
    padded = np.pad(last, [(0, 0)] * (last.ndim - 1) + [(0, missing)]) if missing else last
    return padded.reshape(*padded.shape[:-1], -1, block_size)


def _exponents(blocks: Floats, fmt: NumberFormat) -> Integers:
    largest = np.abs(blocks).max(axis=-1)
    biased = np.ascontiguousarray(largest).view(np.int32) >> 23
    low, high = fmt.exponent_range
    exponents: Integers = np.clip(biased - 127, low, high).astype(np.int32)
    return exponents
