"""README.md's rows about Kubernetes say what was measured, and nothing where nothing was."""

from __future__ import annotations

from typing import Any

from benchmarks import readme_cluster


def _took(seconds: float) -> dict[str, float]:
    return {"median_ms": seconds * 1000, "minimum_ms": 1.0, "maximum_ms": 1e6}


def _cost(seconds: float, peak_mib: float) -> dict[str, float]:
    return {"seconds": seconds, "peak_mib": peak_mib}


COMMANDS = ("preview_of_a_new_stack", "up_of_a_new_stack", "preview_with_nothing_to_do", "up_with_nothing_to_do")
RESULTS: dict[str, Any] = {
    "in_cluster": {
        "preview_of_a_new_stack": _took(3.04),
        "up_of_a_new_stack": _took(31.5),
        "up_with_nothing_to_do": _took(6.1),
        "up_with_another_classifier": _took(41.2),
        "destroy": _took(9.8),
        "rollout_over_kubectl": {"of_medians": 1.134},
        "calls_during_rollouts": {"answered": 812, "failed": 0},
    },
    "image_push": {
        "seconds": {"accelform": {"median_ms": 212.4}},
        "bytes": {
            "accelform": {"sent": 900_000, "received": 100_000},
            "buildah_warm": {"sent": 20_000_000, "received": 400_000},
            "buildah_fresh": {"sent": 20_000_000, "received": 80_000_000},
        },
        "times_faster": {"buildah_warm": {"of_medians": 12.2}, "buildah_fresh": {"of_medians": 34.7}},
    },
    "scale": {
        "rows": [
            {"services": 1, "fpgas": 500, **{name: _cost(3, 400) for name in COMMANDS}},
            {"services": 100, "fpgas": 500, **{name: _cost(17.4, 700 + at) for at, name in enumerate(COMMANDS)}},
        ]
    },
}


def test_nothing_measured_is_no_row() -> None:
    """A number that is not from this machine has no place in its table."""
    assert readme_cluster.rows(lambda name: None) == []


def test_rows_carry_the_measured_numbers() -> None:
    """Commands, the rollout against kubectl's, the push against buildah's, and the largest pool."""
    rows = [value for _, value in readme_cluster.rows(RESULTS.get)]

    assert rows == [
        "3.0 s, 31.5 s, 6.1 s, 9.8 s",
        "41.2 s",
        "1.13 ×, 0",
        "212 ms, 1.00 MB",
        "35 ×, 100 ×",
        "12.2 ×, 20 ×",
        "17 s, 17 s, 17 s, 17 s, 703 MiB",
    ]
