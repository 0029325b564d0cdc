"""The cases that quantisers are compared on are about what they say they are about."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from benchmarks.peer_tools.tensors import CASES

from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.quantiser import block_exponents, quantise

FMT = dataclasses.replace(load_profile("bw-a10-cnn"), exponent_bits=8)
VALUES = {case.key: case.values(FMT, np.random.default_rng(5)) for case in CASES}


def steps(values: np.ndarray) -> np.ndarray:
    """The step of each value's block, from the definition."""
    return np.ldexp(1.0, block_exponents(values, fmt=FMT, axis=-1) + 1 - FMT.mantissa_bits)


@pytest.mark.parametrize("case", CASES, ids=[case.key for case in CASES])
def test_shape_and_type(case):
    """Every case is float32 rows of a block each; one has more."""
    values = case.values(FMT, np.random.default_rng(5))

    assert values.dtype == np.float32
    assert values.shape[1] == (193 if case.key == "short" else 128)


def test_ties_are_halves_of_a_step():
    """But for the first of a block, every value lies in the middle between two multiples of the step."""
    values = VALUES["ties"]

    halves = values[:, 1:] / steps(values) * 2

    assert np.array_equal(halves % 2, np.ones_like(halves))


def test_below_a_power_the_largest_saturates():
    """The largest value would round to 2^m steps, one more than there is."""
    values = VALUES["below-power"]

    assert np.all(values[:, 0] / steps(values)[:, 0] > 31.9)
    assert np.array_equal(quantise(values, fmt=FMT, axis=-1)[:, 0], (31 * steps(values)[:, 0]).astype(np.float32))


def test_power_and_subnormal_and_zero():
    """Largest values that are powers of two; values below the normal numbers; both zeros."""
    assert np.array_equal(np.frexp(VALUES["power"][:, 0])[0], np.full(len(VALUES["power"]), 0.5, np.float32))
    assert np.abs(VALUES["subnormal"]).max() < np.finfo(np.float32).smallest_normal
    assert np.signbit(VALUES["negative-zeros"][:, 1]).all()
    assert (VALUES["negative-zeros"][:, 1] == 0).all()
