from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics import NumberFormat, load_profile
from accelform_runtime.numerics.quantiser import block_exponents, quantise

BRAINWAVE = load_profile("bw-a10-cnn")
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def by_fractions(values: list[float], mantissa_bits: int, low: int, high: int) -> list[float]:
    """One block, straight from the text of the definition, in exact rational arithmetic."""
    largest = max(abs(Fraction(value)) for value in values)
    if largest == 0:
        return [0.0] * len(values)
    exponent = low
    while exponent < high and largest >= Fraction(2) ** (exponent + 1):
        exponent += 1
    step = Fraction(2) ** (exponent + 1 - mantissa_bits)
    limit = 2**mantissa_bits - 1
    # Python rounds a Fraction half to even.
    return [float(max(-limit, min(limit, round(Fraction(value) / step))) * step) for value in values]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param([1.0, 0.5, -0.25], [1.0, 0.5, -0.25], id="multiples of 1/16 stay"),
        pytest.param([1.0, 0.03125], [1.0, 0.0], id="half a step goes to even 0"),
        pytest.param([1.0, 0.09375], [1.0, 0.125], id="one and a half steps go to even 2"),
        pytest.param([1.0, -0.09375], [1.0, -0.125], id="and so below zero"),
        pytest.param([1.0, 0.0313], [1.0, 0.0625], id="just above half a step goes up"),
        pytest.param([1.99, 0.0], [1.9375, 0.0], id="rounding past the largest integer is clamped"),
        pytest.param([-1.97, 1.0], [-1.9375, 1.0], id="and so below zero, the exponent stays"),
        pytest.param([2.0, 0.0625], [2.0, 0.0], id="a power of two has its own exponent"),
        pytest.param([float(np.nextafter(np.float32(2), np.float32(0)))], [1.9375], id="just below it the lower one"),
        pytest.param([7.9999995], [7.75], id="where float32 log2 says 3, the bits say 2"),
        pytest.param([0.0, -0.0, 0.0], [0.0, 0.0, 0.0], id="a block of zeros"),
        pytest.param([1e-40, 2.0**-19], [0.0, 0.0], id="below half the smallest step: zero"),
        pytest.param([2.0**-18], [2.0**-18], id="the smallest value"),
        pytest.param([3 * 2.0**-19], [2.0**-17], id="smallest steps round to even too"),
        pytest.param([2.0**16, 1.0], [63488.0, 0.0], id="above the exponent range: saturated at 31 * 2^11"),
        pytest.param([-3e38, 2048.0], [-63488.0, 2048.0], id="far above, with the largest step for the rest"),
        pytest.param([63488.0, 65535.0], [63488.0, 63488.0], id="the largest value"),
    ],
)
def test_hand_computed_blocks(brainwave: NumberFormat, block: list[float], expected: list[float]) -> None:
    """1s.5e.5m: step 2^(e-4), exponents -14 to 15, half to even, clamped to 31 steps."""
    result = quantise(block, fmt=brainwave, axis=0)

    assert np.float32 == result.dtype
    assert expected == result.tolist()
    assert not np.signbit(result[result == 0]).any()


@pytest.mark.parametrize("power", range(-14, 16))
def test_exponent_comes_from_the_bits(brainwave: NumberFormat, power: int) -> None:
    """At 2^k the exponent is k, at the float32 just below it k - 1 (or the smallest there is)."""
    at = np.float32(2.0**power)

    assert [power] == block_exponents([at], fmt=brainwave, axis=0).tolist()
    assert [max(power - 1, -14)] == block_exponents([np.nextafter(at, np.float32(0))], fmt=brainwave, axis=0).tolist()


def test_wide_exponents_reach_subnormals(variant: Callable[..., NumberFormat]) -> None:
    """With 8 exponent bits the range is float32's own; steps below its normal numbers are still exact."""
    fmt = variant(exponent_bits=8)

    assert fmt.exponent_range == (-126, 127)
    assert quantise([2.0**-126, 1.1 * 2.0**-130], fmt=fmt, axis=0).tolist() == [2.0**-126, 2.0**-130]
    assert quantise([5.4 * 2.0**-130], fmt=fmt, axis=0).tolist() == [5 * 2.0**-130]
    assert quantise([3.4028235e38], fmt=fmt, axis=0).tolist() == [31 * 2.0**123]


def test_mantissa_bits_set_the_step(variant: Callable[..., NumberFormat]) -> None:
    """Two bits leave multiples of half the block's power of two, three a quarter."""
    assert quantise([1.2, 0.6, 0.24], fmt=variant(mantissa_bits=2), axis=0).tolist() == [1.0, 0.5, 0.0]
    assert quantise([1.2, 0.6, 0.24], fmt=variant(mantissa_bits=3), axis=0).tolist() == [1.25, 0.5, 0.25]


def test_blocks_are_separate(variant: Callable[..., NumberFormat]) -> None:
    """A large value coarsens its own block only, and a short last block is a block of its own."""
    fmt = variant(block_size=2)

    result = quantise([100.0, 0.3, 0.3, 0.01, 0.3], fmt=fmt, axis=0)

    assert result.tolist() == [100.0, 0.0, 0.296875, 0.015625, 0.296875]


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axis_is_the_blocked_one(variant: Callable[..., NumberFormat], axis: int) -> None:
    """Blocking along an axis equals blocking every line along it."""
    fmt = variant(block_size=4)
    values = np.random.default_rng(1).normal(size=(5, 6, 7)).astype(np.float32)

    result = quantise(values, fmt=fmt, axis=axis)

    lines = np.moveaxis(values, axis, -1)
    expected = np.apply_along_axis(lambda line: quantise(line, fmt=fmt, axis=0), -1, lines)
    assert np.array_equal(expected, np.moveaxis(result, axis, -1))
    assert result.flags.c_contiguous


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_refused(brainwave: NumberFormat, bad: float) -> None:
    """NaN and infinity have no place in a block; the message tells where they are."""
    with pytest.raises(NotFinite, match=r"\(1, 2\)"):
        quantise([[1.0, 2.0, 3.0], [4.0, 5.0, bad]], fmt=brainwave, axis=1)


def test_float32_profile_leaves_values_alone() -> None:
    """Without blocks the result is an equal copy."""
    values = np.array([1.1, -2.2], np.float32)

    result = quantise(values, fmt=load_profile("float32"), axis=0)

    assert np.array_equal(values, result)
    assert not np.shares_memory(values, result)


@given(st.lists(FINITE, min_size=1, max_size=20))
def test_equals_rational_arithmetic(values: list[float]) -> None:
    """Any finite block gives what exact rational arithmetic gives."""
    assert by_fractions(values, 5, -14, 15) == quantise(values, fmt=BRAINWAVE, axis=0).tolist()


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=FINITE))
def test_quantising_twice_changes_nothing(values: np.ndarray) -> None:
    """Quantised values are representable."""
    once = quantise(values, fmt=BRAINWAVE, axis=0)

    assert np.array_equal(once, quantise(once, fmt=BRAINWAVE, axis=0))


@given(hnp.arrays(np.float32, st.integers(1, 300), elements=FINITE))
def test_negation_and_zero_padding_commute(values: np.ndarray) -> None:
    """The format is symmetric, and zeros added to a short block change nothing."""
    result = quantise(values, fmt=BRAINWAVE, axis=0)
    padded = np.pad(values, (0, -len(values) % 128))

    assert np.array_equal(-result, quantise(-values, fmt=BRAINWAVE, axis=0))
    assert np.array_equal(result, quantise(padded, fmt=BRAINWAVE, axis=0)[: len(values)])


@given(hnp.arrays(np.float32, st.integers(1, 128), elements=st.floats(-60000, 60000, width=32)))
def test_error_is_within_half_a_step(values: np.ndarray) -> None:
    """In range, a value moves by half a step at most, or by one where the largest integer clamps it."""
    exponent = int(block_exponents(values, fmt=BRAINWAVE, axis=0)[0])
    step = 2.0 ** (exponent - 4)

    error = np.abs(quantise(values, fmt=BRAINWAVE, axis=0).astype(np.float64) - values)

    clamped = np.abs(values) > 31.5 * step
    assert (error <= np.where(clamped, step, step / 2)).all()
