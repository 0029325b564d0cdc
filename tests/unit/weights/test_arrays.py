"""What is checked of every weight file, whatever its format."""

from __future__ import annotations

import numpy as np
import pytest

from accelform.errors import InvalidWeights, WeightsUnreadable
from accelform.featurizers.weights import arrays
from accelform.featurizers.weights.arrays import Budget, checked

EXPECTED = {"net/conv1/weights": (1, 1, 2, 3), "net/conv1/BatchNorm/moving_variance": (3,)}


def good() -> dict[str, np.ndarray]:
    return {
        "net/conv1/weights": np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3),
        "net/conv1/BatchNorm/moving_variance": np.ones(3, np.float32),
    }


def test_every_problem_is_in_one_message() -> None:
    """Missing, unknown and misshapen arrays are listed together, with the file and what was expected."""
    found = {"net/conv1/weights": np.zeros((1, 1, 3, 2), np.float32), "net/conv9/weights": np.zeros(1, np.float32)}
    with pytest.raises(InvalidWeights) as caught:
        checked(found, EXPECTED, origin="mine.npz")

    message = str(caught.value)
    assert "mine.npz" in message
    assert "3 problem(s)" in message
    assert "net/conv1/weights has shape [1, 1, 3, 2]; expected [1, 1, 2, 3]" in message
    assert "net/conv1/BatchNorm/moving_variance is missing; expected [3]" in message
    assert "net/conv9/weights is unknown" in message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.array([1, np.nan, 1], np.float32), "holds 1 NaN"),
        (np.array([1, -np.inf, np.inf], np.float32), "holds 2 value.s. that are infinite"),
        (np.array([1, 1e300, 1], np.float64), "holds 1 value.s. that are infinite"),
        (np.array([1, -1e-3, 1], np.float32), "holds 1 negative variance"),
        (np.array([1, 1, 1], np.int32), "has type int32"),
        (np.array([1, 1, 1], np.complex64), "has type complex64"),
    ],
)
def test_values_that_cannot_be_weights_are_refused(value: np.ndarray, problem: str) -> None:
    """NaN, infinities (also those that float32 makes), negative variances and other types are named."""
    with pytest.raises(InvalidWeights, match=problem):
        checked(good() | {"net/conv1/BatchNorm/moving_variance": value}, EXPECTED, origin="mine.npz")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_every_float_type_becomes_float32(dtype: str) -> None:
    """Half, double and byte-swapped floats are converted; the result is in C order and in the network's order."""
    given = {name: np.asfortranarray(array.astype(dtype)) for name, array in reversed(good().items())}
    result = checked(given, EXPECTED, origin="mine.npz")

    assert list(result) == list(EXPECTED)
    for name, array in result.items():
        assert array.dtype == np.dtype("=f4")
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, good()[name])


def test_a_matrix_passes_for_a_1x1_convolution() -> None:
    """[inputs, outputs] is accepted where [1, 1, inputs, outputs] is expected."""
    matrix = good()["net/conv1/weights"][0, 0]
    result = checked(good() | {"net/conv1/weights": matrix}, EXPECTED, origin="mine.npz")

    np.testing.assert_array_equal(result["net/conv1/weights"][0, 0], matrix)


def test_what_training_leaves_behind_is_passed_over() -> None:
    """Counters, optimizer slots and the published file's mean_rgb are no problem, and are not returned."""
    extra: dict[str, np.ndarray] = {
        "global_step": np.array(7, np.int64),
        "net/mean_rgb": np.zeros(3, np.float32),
        "net/conv1/weights/Momentum": np.zeros((1, 1, 2, 3), np.float32),
    }
    assert list(checked(good() | extra, EXPECTED, origin="mine.ckpt")) == list(EXPECTED)


def test_a_long_list_of_problems_is_cut() -> None:
    """A file of quite another network doesn't fill the screen."""
    expected = {f"net/conv{number}/weights": (1,) for number in range(200)}
    with pytest.raises(InvalidWeights, match="200 problem") as caught:
        checked({}, expected, origin="mine.npz")

    assert len(str(caught.value).splitlines()) == arrays.MAX_PROBLEMS_SHOWN + 2
    assert "and 180 more" in str(caught.value)


def test_the_budget_ends() -> None:
    """Neither the number of arrays nor their size is unlimited."""
    budget = Budget("mine.npz")
    for _ in range(5000):
        budget.take(1)
    with pytest.raises(WeightsUnreadable, match=r"mine.npz.*more than 5000 arrays"):
        budget.take(1)
    with pytest.raises(WeightsUnreadable, match="1024 MiB"):
        Budget("mine.npz").take((1 << 30) + 1)
    with pytest.raises(WeightsUnreadable):
        Budget("mine.npz").take(-1)
