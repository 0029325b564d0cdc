"""Whether a server grows: the slope of the last half."""

from __future__ import annotations

import random

import pytest
from benchmarks.processes import Census
from benchmarks.slopes import trend
from benchmarks.soak import trends

SECONDS = [float(second) for second in range(100)]


def test_steady_growth_is_seen() -> None:
    """A leak of a tenth of a MiB per second is some five in the last half of a hundred seconds."""
    found = trend("memory", SECONDS, [100 + 0.1 * second for second in SECONDS], share=0.02)

    assert found.growth == pytest.approx(4.5, abs=0.2)
    assert found.allowed == pytest.approx(0.02 * 105, rel=0.01)
    assert not found.holds


def test_growth_that_ends_before_the_half_is_no_leak() -> None:
    """What is kept on purpose is there by then."""
    assert trend("memory", SECONDS, [min(150.0, 100 + 2 * second) for second in SECONDS], share=0.02).growth == 0


def test_noise_and_peaks_are_no_leak() -> None:
    """A collector of garbage leaves saw teeth, and a large message a peak."""
    noise = random.Random(0)
    values = [100 + noise.uniform(-5, 5) + (300 if second == 97 else 0) for second in SECONDS]

    assert trend("memory", SECONDS, values, share=0.03).holds


def test_leak_under_noise_is_seen() -> None:
    """The slope comes out of saw teeth that are larger than it."""
    noise = random.Random(0)
    values = [100 + 0.2 * second + noise.uniform(-5, 5) for second in SECONDS]

    assert not trend("memory", SECONDS, values, share=0.03).holds


def test_too_short_a_run_says_so() -> None:
    """A few samples have a slope and no meaning."""
    with pytest.raises(ValueError, match="too few"):
        trend("memory", [0.0, 1.0, 2.0], [1.0, 1.0, 1.0])


def test_every_kind_of_handle_is_watched() -> None:
    """A socket that stays with each call shows as sockets and as files; the rest holds."""
    samples = [
        (second, Census(processes=2, threads=20, files=30 + n, sockets=5 + n, rss_mib=90.0, pss_mib=80.0))
        for n, second in enumerate(SECONDS)
    ]

    assert [one.name for one in trends(samples) if not one.holds] == ["files", "sockets"]
