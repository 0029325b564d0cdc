"""Block floating point in NumPy: this is the definition; the served graph has to equal it bit for bit.

A block of values shares one exponent e, the exponent of its largest magnitude (from the bits, never by a logarithm,
which is wrong just below a power of two). With m mantissa bits the step is s = 2^(e + 1 - m), and a value v becomes
q*s with q = clip(round(v / s), -(2^m - 1), 2^m - 1). e is clamped to the exponent range first: a block above it
saturates, a block below it is rounded with the smallest step. Zeros come out as +0.

Where overflow carries, e is one more if the largest magnitude rounds to 2^m steps, so that only blocks above the
exponent range saturate.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics.format import NumberFormat

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int32]
Bytes = npt.NDArray[np.int8]
Number = TypeVar("Number", bound=np.generic)


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
    axis %= array.ndim
    blocks = _blocked(array, fmt, axis)
    steps = _steps(_exponents(blocks, fmt, axis + 1), fmt)
    rounded: Floats = (_integers(blocks / steps, fmt) * steps + 0.0).astype(np.float32)
    return _unblocked(rounded, array.shape[axis], axis)


def pack(values: npt.ArrayLike, *, fmt: NumberFormat, axis: int) -> tuple[Bytes, Bytes]:
    """What `quantise` gives, as integers and steps: value = mantissa * 2^(step exponent of its block).

    Returns the mantissas, int8 of the values' shape, and the step exponents, int8, `axis` of which is
    ceil(length / block_size) long.

    Raises:
        NotFinite: a value is NaN or infinite.
        ValueError: the format has no blocks.
    """
    if not fmt.quantised:
        raise ValueError(f"number format {fmt.name} has no blocks, so there are no mantissas to pack")
    array = _finite(values)
    axis %= array.ndim
    blocks = _blocked(array, fmt, axis)
    exponents = _exponents(blocks, fmt, axis + 1)
    integers: Bytes = _integers(blocks / _steps(exponents, fmt), fmt).astype(np.int8)
    step_exponents = np.squeeze(exponents, axis + 1) + 1 - (fmt.mantissa_bits or 0)
    return _unblocked(integers, array.shape[axis], axis), step_exponents.astype(np.int8)


def unpack(mantissas: Bytes, step_exponents: Bytes, *, block_size: int, axis: int) -> Floats:
    """The float32 values that `pack` split up."""
    steps = np.ldexp(np.float32(1), step_exponents.astype(np.int32))
    if steps.shape[axis] > 1:
        steps = np.repeat(steps, block_size, axis).take(np.arange(mantissas.shape[axis]), axis)
    values: Floats = np.multiply(mantissas, steps, dtype=np.float32)
    return values


def block_exponents(values: npt.ArrayLike, *, fmt: NumberFormat, axis: int) -> Integers:
    """The shared exponents that `quantise` uses: `axis` becomes ceil(length / block_size) long, int32.

    A block of zeros has the smallest exponent.

    Raises:
        NotFinite: a value is NaN or infinite.
    """
    array = _finite(values)
    axis %= array.ndim
    return np.squeeze(_exponents(_blocked(array, fmt, axis), fmt, axis + 1), axis + 1)


def _finite(values: npt.ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float32)
    if not np.isfinite(array).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise NotFinite(f"the value at {index} is {array[index]}; block floating point holds finite values only")
    return array


def _blocked(array: Floats, fmt: NumberFormat, axis: int) -> Floats:
    """`axis` split into [blocks, block_size]; zeros fill up the last block, which changes no exponent."""
    length = array.shape[axis]
    block_size = min(fmt.block_size or length, length)
    if missing := -length % block_size:
        array = np.pad(array, [(0, missing if index == axis else 0) for index in range(array.ndim)])
    return array.reshape(*array.shape[:axis], -1, block_size, *array.shape[axis + 1 :])


def _unblocked(blocks: npt.NDArray[Number], length: int, axis: int) -> npt.NDArray[Number]:
    flat = blocks.reshape(*blocks.shape[:axis], -1, *blocks.shape[axis + 2 :])
    return np.ascontiguousarray(flat[(slice(None),) * axis + (slice(length),)])


def _exponents(blocks: Floats, fmt: NumberFormat, axis: int) -> Integers:
    """Of blocks along `axis`, which becomes 1 long."""
    largest = np.abs(blocks).max(axis=axis, keepdims=True)
    low, high = fmt.exponent_range
    exponents: Integers = np.clip((largest.view(np.int32) >> 23) - 127, low, high)
    if fmt.overflow == "carry":
        carries = _rounded(largest / _steps(exponents, fmt), fmt) > fmt.largest_integer
        exponents = np.minimum(exponents + carries, high)
    return exponents.astype(np.int32)


def _steps(exponents: Integers, fmt: NumberFormat) -> Doubles:
    return np.ldexp(1.0, exponents + 1 - (fmt.mantissa_bits or 0))


def _integers(quotients: Doubles, fmt: NumberFormat) -> Doubles:
    return np.clip(_rounded(quotients, fmt), -fmt.largest_integer, fmt.largest_integer)


def _rounded(quotients: Doubles, fmt: NumberFormat) -> Doubles:
    """float64 holds a float32 divided by a power of two exactly, and with one half added too unless it is tiny."""
    if fmt.rounding == "truncate":
        return np.trunc(quotients)
    if fmt.rounding == "nearest-away":
        return np.copysign(np.floor(np.abs(quotients) + 0.5), quotients)
    return np.rint(quotients)
