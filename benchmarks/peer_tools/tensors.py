"""Tensors on which quantisers differ: one case for every choice that a definition has to make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from accelform_runtime.numerics.format import NumberFormat

Make = Callable[[NumberFormat, np.random.Generator], np.ndarray]
BLOCKS = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """float32 [rows, length]; the length is one block, except where the case is about another."""

    key: str
    what: str
    values: Make


def _size(fmt: NumberFormat) -> int:
    return fmt.block_size or 1


def _normal(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    return random.normal(size=(BLOCKS, _size(fmt))).astype(np.float32)


def _relu(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    rectified: np.ndarray = np.maximum(_normal(fmt, random), np.float32(0))
    return rectified


def _spread(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    scales = 2.0 ** random.uniform(-12, 12, (BLOCKS, _size(fmt)))
    return (random.normal(size=scales.shape) * scales).astype(np.float32)


def _ties(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """Odd multiples of half a step, under a largest value that stays in its binade."""
    half = np.float32(2.0 ** -(fmt.mantissa_bits or 0))
    limit = 1 << (fmt.mantissa_bits or 0)
    values = (2 * random.integers(-limit // 2, limit // 2, (BLOCKS, _size(fmt))) + 1) * half
    values[:, 0] = 1.0
    return values.astype(np.float32)


def _below_a_power(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """The largest value is the last float32 before a power of two: rounded up, its mantissa does not fit."""
    values = random.uniform(0, 0.9, (BLOCKS, _size(fmt)))
    values[:, 0] = np.nextafter(np.float32(1), np.float32(0))
    return (values.astype(np.float32) * (2.0 ** random.integers(-8, 9, (BLOCKS, 1)))).astype(np.float32)


def _large_negative(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    return -_below_a_power(fmt, random)


def _power_of_two(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """The largest value is a power of two itself."""
    values = random.uniform(-0.99, 0.99, (BLOCKS, _size(fmt)))
    values[:, 0] = 1.0
    return (values * (2.0 ** random.integers(-8, 9, (BLOCKS, 1)))).astype(np.float32)


def _short(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    length = _size(fmt) + _size(fmt) // 2 + 1
    return random.normal(size=(BLOCKS, length)).astype(np.float32)


def _zeros(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    return np.zeros((4, _size(fmt)), np.float32)


def _negative_zeros(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """Negative zeros, and negative values that round to zero, beside a one."""
    values = np.full((4, _size(fmt)), -1e-6, np.float32)
    values[:, 0], values[:, 1::2] = 1.0, -0.0
    return values


def _subnormal(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """Blocks whose largest value is below float32's normal numbers."""
    return (random.uniform(-1, 1, (BLOCKS, _size(fmt))) * 2.0**-127).astype(np.float32)


def _largest(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    """Blocks in the last binade of float32."""
    return (random.uniform(-1.99, 1.99, (BLOCKS, _size(fmt))) * 2.0**127).astype(np.float32)


def _not_finite(fmt: NumberFormat, random: np.random.Generator) -> np.ndarray:
    values = _normal(fmt, random)[:2]
    values[0, 1], values[1, 2] = np.nan, np.inf
    return values


CASES = (
    Case(key="normal", what="normal values", values=_normal),
    Case(key="relu", what="what a ReLU leaves of them", values=_relu),
    Case(key="spread", what="24 powers of two inside a block", values=_spread),
    Case(key="ties", what="halves of a step", values=_ties),
    Case(key="power", what="largest value a power of two", values=_power_of_two),
    Case(key="below-power", what="largest value just below a power of two", values=_below_a_power),
    Case(key="negative", what="the same, negative", values=_large_negative),
    Case(key="short", what="a last block that is shorter (padded with zeros for the tools)", values=_short),
    Case(key="zeros", what="blocks of zeros", values=_zeros),
    Case(key="negative-zeros", what="negative zeros, and what rounds to them", values=_negative_zeros),
    Case(key="subnormal", what="blocks of subnormals", values=_subnormal),
    Case(key="largest", what="the last binade of float32", values=_largest),
    Case(key="not-finite", what="NaN and infinity", values=_not_finite),
)
