"""Inputs to try a network on, and whether two answers to them are the same but for rounding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Answers = Mapping[str, Array]

OPEN_SIDE = 256
"""For a dimension that takes any size: what a server warms up with."""

BATCH = 2
"""Images at once where the batch is open: a network that mixes them answers differently one by one."""

TOLERANCE = {"float32": (2e-3, 1e-5), "float64": (2e-3, 1e-5), "float16": (5e-2, 2e-3)}
"""Type of the file's weights -> difference that is let pass, relative to an output's largest value, and the relative
change of the input that stands for rounding inside the network: what such a change does is let pass ten times."""

AMPLIFIED = 10


def trial_inputs(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[Array]:
    """Noise, and one slope that is another along each axis; the batch is open where `shape` begins with -1."""
    sides = (BATCH if shape[0] == -1 else shape[0], *(OPEN_SIDE if side == -1 else side for side in shape[1:]))
    random = np.random.default_rng(20190501)
    slope = np.zeros(sides)
    for axis, side in enumerate(sides):
        ramp = np.linspace(-1, 1, side) if side > 1 else np.zeros(1)
        slope = slope + ramp.reshape([-1 if index == axis else 1 for index in range(len(sides))]) * (axis + 1)
    if dtype.kind == "f":
        yield random.normal(size=sides).astype(dtype)
        yield slope[:1].astype(dtype)
        return
    high = 1 if dtype.kind == "b" else min(255, np.iinfo(dtype).max)
    yield random.integers(0, high + 1, sides).astype(dtype)
    yield (np.abs(slope) / np.abs(slope).max() * high)[:1].astype(dtype)


def nudged(value: Array, by: float) -> Array:
    """The input, changed by rounding."""
    if value.dtype.kind != "f":
        return value
    random = np.random.default_rng(1)
    return np.asarray(value * (1 + by * random.choice([-1.0, 1.0], value.shape)), value.dtype)


def difference(theirs: Answers, ours: Answers, shaken: Answers, *, weights: str) -> str:
    """What differs by more than rounding, in words; empty if nothing does.

    Args:
        theirs: the file's own answers
        ours: what a server would answer
        shaken: the file's own answers to inputs changed by rounding
        weights: type of the file's weights
    """
    allowed = TOLERANCE[weights][0]
    for name, expected in theirs.items():
        found, moved = ours[name], shaken[name]
        if found.shape != expected.shape:
            if moved.shape != expected.shape:
                continue  # a list of as many objects as were found
            return f"{name} has shape {list(found.shape)} instead of {list(expected.shape)}"
        if expected.dtype.kind != "f":
            steady = expected == moved if moved.shape == expected.shape else np.zeros(expected.shape, bool)
            wrong = int(np.count_nonzero(steady & (expected != found)))
            if wrong * 10 > max(10, expected.size):
                return f"{wrong} of {expected.size} values of {name} are others"
            continue
        if not np.isfinite(expected).all():
            continue
        largest = float(np.abs(expected).max(initial=0.0))
        rounding = float(np.abs(moved - expected).max(initial=0.0)) if moved.shape == expected.shape else 0.0
        distance = float(np.abs(found.astype(np.float64) - expected).max(initial=0.0))
        if not distance <= allowed * largest + AMPLIFIED * rounding + 1e-30:
            return f"{name} differs by {distance:.3g}, where its largest value is {largest:.3g}"
    return ""
