"""Sums of two signals, against numbers worked out by hand."""

from __future__ import annotations

from math import inf, log10

import numpy as np
import pytest

from accelform.report.signal import SignalSums, finite, noise_share


def test_decibels_are_of_all_images_together() -> None:
    """Signal 25 + 4, noise 0.25 + 1; the worst image is the second."""
    sums = SignalSums()
    sums.add(np.array([3.0, 4.0], np.float32), np.array([3.0, 4.5], np.float32))
    sums.add(np.array([[2.0, 0.0]], np.float32), np.array([[2.0, -1.0]], np.float32))

    assert sums.sqnr_db == pytest.approx(10 * log10(29 / 1.25))
    assert sums.worst_db == pytest.approx(10 * log10(4))
    assert sums.cosine == pytest.approx((9 + 18 + 4) / (29 * (9 + 20.25 + 5)) ** 0.5)
    assert sums.largest == 1.0


@pytest.mark.parametrize(
    ("reference", "compared", "db", "plain", "cosine"),
    [
        ([1.0, 2.0], [1.0, 2.0], inf, None, 1.0),
        ([0.0, 0.0], [0.0, 0.0], inf, None, 1.0),
        ([0.0, 0.0], [0.0, 1.0], -inf, -200.0, 0.0),
        ([0.0, -3.0], [0.0, 3.0], 10 * log10(0.25), 10 * log10(0.25), -1.0),
    ],
)
def test_silence_and_sameness(
    reference: list[float], compared: list[float], db: float, plain: float | None, cosine: float
) -> None:
    """No noise is infinitely good, no signal infinitely bad; JSON gets null and the floor."""
    sums = SignalSums()
    sums.add(np.array(reference), np.array(compared))

    assert sums.sqnr_db == db
    assert finite(sums.sqnr_db) == plain
    assert sums.cosine == pytest.approx(cosine)


def test_sums_are_taken_in_double_precision() -> None:
    """A million values of 1 + 2^-20: in float32 the sum of their squares would be off in the fifth digit."""
    values = np.full(1 << 20, 1 + 2.0**-20, np.float32)
    sums = SignalSums()
    sums.add(values, np.zeros_like(values))

    assert sums.signal == pytest.approx((1 << 20) * (1 + 2.0**-20) ** 2, rel=1e-12)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_value_that_is_not_finite_is_noise_without_bounds(broken: float) -> None:
    """Whatever was good before and comes after."""
    sums = SignalSums()
    for values in ([1.0, 2.0], [1.0, broken], [1.0, 2.0]):
        sums.add(np.array([1.0, 2.0]), np.array(values))

    assert (sums.sqnr_db, sums.worst_db, sums.cosine, sums.largest) == (-inf, -inf, 0.0, inf)


def test_shapes_must_agree() -> None:
    """Nothing is broadcast silently."""
    with pytest.raises(ValueError, match="can't be compared"):
        SignalSums().add(np.zeros((2, 3)), np.zeros(3))


def test_noise_share() -> None:
    """The inverse of decibels."""
    assert noise_share(20.0) == pytest.approx(0.01)
    assert noise_share(inf) == 0.0
