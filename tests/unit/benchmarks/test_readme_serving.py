"""README.md's rows about serving say what was measured, and nothing where nothing was."""

from __future__ import annotations

from typing import Any

from benchmarks import readme_serving


def _spread(value: float) -> dict[str, float]:
    return {"median": value, "minimum": value / 2, "maximum": value * 2}


OVER = {
    "p50_ratio": _spread(1.01),
    "p99_ratio": 1.07,
    "cpu_ratio": _spread(1.03),
    "p50_added_ms": _spread(0.31),
    "cpu_added_ms": _spread(0.22),
}
SATURATED = {"of_what_clients_leave": {"2_clients": 1.02, "16_clients": 0.97}}
SECURED = {"tls_over_plain": {"p50_ratio": _spread(1.004)}}
ATTACKED = {
    "another_address": {"answered": 119, "failed": {"UNAVAILABLE": 1}, "p99_over_alone": 1.26},
    "same_address": {"answered": 100, "failed": {"RESOURCE_EXHAUSTED": 20}, "p99_over_alone": 9.5},
    "front_peak_mebibytes": 24.2,
}
RESULTS: dict[str, Any] = {
    "serving": {"service_over_bare_pipeline": OVER, "service": {"p50_ms": _spread(26.2), "p99_ms": 31.0}},
    "small_model": {"service_over_bare_pipeline": OVER},
    "saturation": {"fpga": SATURATED, "small": {"of_what_clients_leave": {"2_clients": 0.99}}},
    "secure": {"fpga": SECURED, "small_photograph": {"tls_over_plain": {"p50_ratio": _spread(1.08)}}},
    "start": {
        "fpga": {
            "server_start_ms": _spread(1250.0),
            "start_ratio": 1.14,
            "server_pss_mib": _spread(90.2),
            "memory_ratio": 1.1,
        }
    },
    "overload": {
        "times_the_peak": 4,
        "fpga": {"goodput_over_peak": _spread(0.99), "refused_p99_ms": 2.2, "health_p99_ms": 3.1},
    },
    "swap": {"swaps": 200, "swap_ms": _spread(310.0), "failed_calls": {}},
    "attack": {
        "attacks": {
            "pings": ATTACKED,
            "resets": {**ATTACKED, "front_peak_mebibytes": 61.6},
        },
    },
    "peer_servers": {
        "versions": {"mosec": "1", "mlserver": "1", "mlserver, defaults": "1", "grpc.aio": "1"},
        "small": {
            "overhead_ms": {
                "accelform": 0.3,
                "mlserver": 1.24,
                "mosec": 0.61,
                "mlserver, defaults": 2.0,
                "grpc.aio": 0.5,
            }
        },
    },
}


def test_nothing_measured_is_no_row() -> None:
    """A number that is not from this machine has no place in its table."""
    assert readme_serving.rows(lambda name: None) == []


def test_rows_hold_the_medians() -> None:
    """Each benchmark of serving has its row, in the table's order."""
    assert readme_serving.rows(RESULTS.get) == [
        ("ResNet-50 call over gRPC: p50, p99", "26 ms, 31 ms"),
        ("… over the bare pipeline: p50, p99, processor time", "1.01 ×, 1.07 ×, 1.03 ×"),
        ("what a call adds to a model of a millisecond: p50, processor time", "0.31 ms, 0.22 ms"),
        ("calls per second with 2 to 16 clients, over the bare pipeline in a loop, at least", "0.97 ×"),
        ("TLS over plain text: ResNet-50, model of a millisecond", "1.00 ×, 1.08 ×"),
        ("from the command to SERVING, over a bare start", "1.2 s, 1.14 ×"),
        ("memory of the idle service, over a bare process with the model", "90 MiB, 1.10 ×"),
        ("4 times too many calls: completed over peak, p99 of refusals, of health", "0.99 ×, 2 ms, 3 ms"),
        ("200 swaps of the model under load: one swap, failed calls", "0.3 s, 0"),
        ("2 attacks from another address: good calls that failed, peak of the front's memory", "2 of 240, 62 MiB"),
        ("… p99 of good calls over p99 alone: median, worst", "1.3 ×, 1.3 ×"),
        ("ms that a server adds to a model of a millisecond: ours 0.3", "mosec 0.6, mlserver 1.2"),
    ]


def test_what_failed_is_told() -> None:
    """A swap that cost a call shows in the table."""
    found = {**RESULTS["swap"], "failed_calls": {"UNAVAILABLE": 2, "INTERNAL": 1}}

    assert readme_serving.rows({"swap": found}.get)[0][1] == "0.3 s, 3"
