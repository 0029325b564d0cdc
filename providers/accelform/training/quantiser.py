"""Block floating point in TensorFlow, bit for bit as `accelform_runtime.numerics.quantiser`, with a gradient.

Rounding has derivative zero almost everywhere, so the gradient passes straight through it, as if nothing had been
rounded (Bengio et al. 2013). It is cut only where a value saturates: a magnitude of 2^(e + 1) or more, where e is
clamped to the top of its range. A value that rounds up past the largest integer keeps its gradient: it is at most one
step off, and it is its block's largest, the one that matters most.

NaN and infinity can't be refused inside a graph: a block that holds one comes out as NaN, so a loss shows it.
"""

from __future__ import annotations

from typing import Any

from accelform.training.backend import tf
from accelform_runtime.numerics.format import NumberFormat

FRACTION_BITS = 23
BIAS = 127
NOT_FINITE = 255
"""float32's."""


def quantise(values: Any, *, fmt: NumberFormat, axis: int) -> Any:
    """Rounds a float32 tensor to `fmt`, in blocks of `fmt.block_size` along `axis`; its length there must be known.

    A format without blocks returns the tensor itself. Gradients pass straight through, see above.
    """
    if not fmt.quantised:
        return values
    top = fmt.exponent_range[1]

    @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def rounded(inside: Any) -> Any:
        def gradient(upstream: Any) -> Any:
            # Eight exponent bits reach as far as float32 itself.
            return upstream if top >= BIAS else tf.where(tf.abs(inside) < 2.0 ** (top + 1), upstream, 0.0)

        blocks, length = _blocked(inside, axis, fmt)
        return _unblocked(_rounded(blocks, fmt), inside, length, axis), gradient

    return rounded(tf.convert_to_tensor(values, tf.float32))


def pointwise(values: Any, *, fmt: NumberFormat) -> Any:
    """Rounds a float32 tensor to the point-wise type and back; the gradient passes straight through.

    Beyond the type's range the result is infinite, which the next block makes NaN.
    """
    if fmt.pointwise == "float32":
        return values

    @tf.custom_gradient  # type: ignore[untyped-decorator, unused-ignore]
    def rounded(inside: Any) -> Any:
        return tf.cast(tf.cast(inside, tf.float16), tf.float32), lambda upstream: upstream

    return rounded(tf.convert_to_tensor(values, tf.float32))


def _rounded(blocks: Any, fmt: NumberFormat) -> Any:
    """Every block [..., block size] rounded with its own step."""
    bits = tf.bitcast(blocks, tf.int32)
    # As integers, because a kernel that flushes subnormals would find no largest among them.
    largest = tf.reduce_max(tf.bitwise.bitwise_and(bits, 0x7FFFFFFF), axis=-1, keepdims=True)
    biased = tf.bitwise.right_shift(largest, FRACTION_BITS)
    low, high = fmt.exponent_range
    exponents = tf.clip_by_value(biased - BIAS, low, high)
    if fmt.overflow == "carry":
        in_steps = _in_steps(tf.bitcast(largest, tf.float32), largest, largest, _steps(exponents, fmt), fmt)
        past = _to_integers(in_steps, fmt) > fmt.largest_integer
        exponents = tf.minimum(exponents + tf.cast(past, tf.int32), high)
    steps = tf.where(tf.equal(biased, NOT_FINITE), float("nan"), _steps(exponents, fmt))
    limit = float(fmt.largest_integer)
    integers = tf.clip_by_value(_to_integers(_in_steps(blocks, bits, largest, steps, fmt), fmt), -limit, limit)
    # An integer -0 becomes +0 here; adding zero would not do, a graph optimiser drops it.
    return tf.math.multiply_no_nan(steps, integers)


def _in_steps(values: Any, bits: Any, largest: Any, steps: Any, fmt: NumberFormat) -> Any:
    """values / steps, exactly wherever the quotient matters; `bits` and `largest` are the values' as integers."""
    quotients = values / steps
    if (fmt.exponent_bits or 0) < 8:
        return quotients

    def with_subnormals() -> Any:
        fractions = tf.cast(tf.bitwise.bitwise_and(bits, (1 << FRACTION_BITS) - 1), tf.float32)
        magnitudes = fractions * 2.0**-FRACTION_BITS * (2.0 ** (1 - BIAS) / steps)
        subnormal = tf.equal(tf.bitwise.bitwise_and(bits, NOT_FINITE << FRACTION_BITS), 0)
        return tf.where(subnormal, tf.where(bits < 0, -magnitudes, magnitudes), quotients)

    # With a step this small subnormals count, and a kernel may take them for zeros. Blocks of zeros don't matter.
    tiny = tf.reduce_any(tf.logical_and(largest > 0, steps < 2.0**-BIAS * 4))
    return tf.cond(tiny, with_subnormals, lambda: quotients)


def _to_integers(quotients: Any, fmt: NumberFormat) -> Any:
    if fmt.rounding == "nearest-even":
        return tf.round(quotients)
    magnitudes = tf.abs(quotients)
    wholes = tf.floor(magnitudes)
    if fmt.rounding == "nearest-away":
        wholes += tf.cast(magnitudes - wholes >= 0.5, tf.float32)
    return tf.where(quotients < 0, -wholes, wholes)


def _steps(exponents: Any, fmt: NumberFormat) -> Any:
    """2^(e + 1 - m), put together from its bits."""
    return tf.bitcast(
        tf.bitwise.left_shift(exponents + (1 + BIAS - (fmt.mantissa_bits or 0)), FRACTION_BITS), tf.float32
    )


def _blocked(values: Any, axis: int, fmt: NumberFormat) -> tuple[Any, int]:
    """[..., blocks, block size], the blocked axis last, and that axis's length; zeros fill up the last block."""
    last = _swapped(values, axis)
    length = int(last.shape[-1])
    block = min(fmt.block_size or length, length)
    missing = -length % block
    if missing:
        last = tf.pad(last, [[0, 0]] * (len(last.shape) - 1) + [[0, missing]])
    return tf.reshape(last, tf.concat([tf.shape(last)[:-1], [(length + missing) // block, block]], axis=0)), length


def _unblocked(blocks: Any, like: Any, length: int, axis: int) -> Any:
    shape = tf.concat([tf.shape(blocks)[:-2], [-1]], axis=0)
    result = _swapped(tf.reshape(blocks, shape)[..., :length], axis)
    result.set_shape(like.shape)
    return result


def _swapped(values: Any, axis: int) -> Any:
    """`axis` in the last one's place; doing it twice changes nothing."""
    rank = len(values.shape)
    if axis % rank == rank - 1:
        return values
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return tf.transpose(values, order)
