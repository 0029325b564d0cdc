from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics import NumberFormat, load_profile, profile_names
from accelform_runtime.numerics.format import CHOICES
from accelform_runtime.numerics.quantiser import block_exponents, pack, quantise, unpack

BRAINWAVE = load_profile("bw-a10-cnn")
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def by_fractions(values: list[float], fmt: NumberFormat) -> list[float]:
    """One block, straight from the text of the definition, in exact rational arithmetic."""
    bits = fmt.mantissa_bits or 0
    low, high = fmt.exponent_range
    limit = 2**bits - 1
    largest = max(abs(Fraction(value)) for value in values)
    exponent = low
    while exponent < high and largest >= Fraction(2) ** (exponent + 1):
        exponent += 1
    if fmt.overflow == "carry" and rounded(largest / step(exponent, bits), fmt.rounding) > limit:
        exponent = min(exponent + 1, high)
    integers = (rounded(Fraction(value) / step(exponent, bits), fmt.rounding) for value in values)
    return [float(max(-limit, min(limit, integer)) * step(exponent, bits)) for integer in integers]


def step(exponent: int, bits: int) -> Fraction:
    return Fraction(2) ** (exponent + 1 - bits)


def rounded(value: Fraction, rounding: str) -> int:
    if rounding == "truncate":
        return math.trunc(value)
    if rounding == "nearest-away":
        return math.floor(abs(value) + Fraction(1, 2)) * (1 if value > 0 else -1)
    # Python rounds a Fraction half to even.
    return round(value)


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


def test_wide_exponents_stop_at_normal_steps(variant: Callable[..., NumberFormat]) -> None:
    """With 8 exponent bits the range is float32's own, as far as the step is a normal number."""
    fmt = variant(exponent_bits=8)

    assert fmt.exponent_range == (-122, 127)
    assert quantise([2.0**-122, 1.1 * 2.0**-126], fmt=fmt, axis=0).tolist() == [2.0**-122, 2.0**-126]
    assert quantise([1.6 * 2.0**-126], fmt=fmt, axis=0).tolist() == [2.0**-125]
    assert quantise([2.0**-127, 1e-40], fmt=fmt, axis=0).tolist() == [0.0, 0.0]
    assert quantise([3.4028235e38], fmt=fmt, axis=0).tolist() == [31 * 2.0**123]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param([1.0, 0.03125], [1.0, 0.0625], id="half a step goes up"),
        pytest.param([1.0, -0.03125], [1.0, -0.0625], id="and down below zero"),
        pytest.param([1.0, 0.09375], [1.0, 0.125], id="one and a half steps go to 2"),
        pytest.param([1.0, 0.15625], [1.0, 0.1875], id="two and a half go to 3"),
        pytest.param([1.0, float(np.nextafter(np.float32(0.03125), np.float32(0)))], [1.0, 0.0], id="just below: 0"),
        pytest.param([1.99], [1.9375], id="the largest integer still clamps"),
    ],
)
def test_ties_away_from_zero(variant: Callable[..., NumberFormat], block: list[float], expected: list[float]) -> None:
    """nearest-away differs in ties, and in nothing else."""
    assert quantise(block, fmt=variant(rounding="nearest-away"), axis=0).tolist() == expected


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param([1.0, 0.0624], [1.0, 0.0], id="less than a step is nothing"),
        pytest.param([1.0, -0.0624], [1.0, 0.0], id="and so below zero, as +0"),
        pytest.param([1.0, 0.124], [1.0, 0.0625], id="digits are dropped"),
        pytest.param([1.99, -1.99], [1.9375, -1.9375], id="nothing rounds past the largest integer"),
    ],
)
def test_truncation_is_towards_zero(
    variant: Callable[..., NumberFormat], block: list[float], expected: list[float]
) -> None:
    """truncate never makes a magnitude larger."""
    result = quantise(block, fmt=variant(rounding="truncate"), axis=0)

    assert result.tolist() == expected
    assert not np.signbit(result[result == 0]).any()


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param([1.99, 0.0625], [2.0, 0.0], id="the block gets the next exponent, and its smaller values feel it"),
        pytest.param([-1.97, 1.0], [-2.0, 1.0], id="and so below zero"),
        pytest.param([1.96875], [2.0], id="31.5 steps are a tie, to the even 32"),
        pytest.param([float(np.nextafter(np.float32(1.96875), np.float32(0)))], [1.9375], id="just below: 31 steps"),
        pytest.param([float(np.nextafter(np.float32(2), np.float32(0)))], [2.0], id="just below a power of two"),
        pytest.param([65535.0, 2048.0], [63488.0, 2048.0], id="there is no exponent above the largest"),
        pytest.param([2.0**-14 * 1.99], [2.0**-13], id="from the smallest exponent to the next"),
    ],
)
def test_carrying_raises_the_exponent(
    variant: Callable[..., NumberFormat], block: list[float], expected: list[float]
) -> None:
    """carry: 2^m steps are 2^(m-1) steps of the next exponent."""
    assert quantise(block, fmt=variant(overflow="carry"), axis=0).tolist() == expected


def test_truncation_never_carries(variant: Callable[..., NumberFormat]) -> None:
    """Nothing is rounded up, so there is nothing to carry."""
    values = np.random.default_rng(2).normal(size=1000)

    carried = quantise(values, fmt=variant(rounding="truncate", overflow="carry"), axis=0)

    assert np.array_equal(quantise(values, fmt=variant(rounding="truncate"), axis=0), carried)


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


@given(
    st.lists(FINITE, min_size=1, max_size=20),
    st.integers(1, 7),
    st.integers(2, 8),
    st.sampled_from(CHOICES["rounding"]),
    st.sampled_from(CHOICES["overflow"]),
)
@settings(max_examples=300)
def test_equals_rational_arithmetic(
    values: list[float], mantissa: int, exponent: int, rounding: str, overflow: str
) -> None:
    """Any finite block in any format gives what exact rational arithmetic gives."""
    fmt = dataclasses.replace(
        BRAINWAVE, mantissa_bits=mantissa, exponent_bits=exponent, rounding=rounding, overflow=overflow
    )

    assert by_fractions(values, fmt) == quantise(values, fmt=fmt, axis=0).tolist()


@given(
    hnp.arrays(np.float32, st.integers(1, 300), elements=FINITE),
    st.sampled_from([name for name in profile_names() if load_profile(name).quantised]),
)
def test_quantising_twice_changes_nothing(values: np.ndarray, profile: str) -> None:
    """Quantised values are representable, in every profile."""
    fmt = load_profile(profile)
    once = quantise(values, fmt=fmt, axis=0)

    assert np.array_equal(once, quantise(once, fmt=fmt, axis=0))


@given(
    hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=FINITE),
    st.sampled_from([name for name in profile_names() if load_profile(name).quantised]),
)
def test_packing_loses_nothing(values: np.ndarray, profile: str) -> None:
    """Mantissas times steps are the quantised values, and fit a byte each."""
    fmt = load_profile(profile)

    mantissas, exponents = pack(values, fmt=fmt, axis=0)

    assert mantissas.dtype == exponents.dtype == np.int8
    assert mantissas.shape == values.shape
    assert exponents.shape == (-(-values.shape[0] // fmt.block_size), values.shape[1])
    unpacked = unpack(mantissas, exponents, block_size=fmt.block_size, axis=0)
    expected = quantise(values, fmt=fmt, axis=0)
    assert np.array_equal(expected.view(np.uint32), unpacked.view(np.uint32))


def test_packed_by_hand(variant: Callable[..., NumberFormat]) -> None:
    """Sixteenths of the block's power of two; a block of zeros has the smallest step."""
    mantissas, exponents = pack([1.5, -0.25, 0.0, 0.0, 3.0], fmt=variant(block_size=2), axis=0)

    assert mantissas.tolist() == [24, -4, 0, 0, 24]
    assert exponents.tolist() == [-4, -18, -3]


def test_nothing_to_pack_without_blocks() -> None:
    """A format without blocks has no mantissas."""
    with pytest.raises(ValueError, match="float32 has no blocks"):
        pack([1.0], fmt=load_profile("float32"), axis=0)


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
