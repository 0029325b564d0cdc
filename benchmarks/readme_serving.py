"""README.md's rows about serving; a row whose benchmark has not been run here is left out."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from benchmarks.readme_rows import Found, Makers, Row, collect


def rows(result: Callable[[str], Found | None]) -> list[Row]:
    """The rows for the results that there are; `result` gives one by its benchmark's name, or None."""
    makers: Makers = {
        "serving": _serving,
        "small_model": _small_model,
        "saturation": _saturation,
        "secure": _secure,
        "start": _start,
        "overload": _overload,
        "swap": _swap,
        "attack": _attack,
        "peer_servers": _peer_servers,
    }
    return collect(makers, result)


def _serving(found: Found) -> list[Row]:
    over, service = found["service_over_bare_pipeline"], found["service"]
    return [
        ("ResNet-50 call over gRPC: p50, p99", f"{service['p50_ms']['median']:.0f} ms, {service['p99_ms']:.0f} ms"),
        (
            "… over the bare pipeline: p50, p99, processor time",
            f"{_times(over['p50_ratio'])}, {over['p99_ratio']:.2f} ×, {_times(over['cpu_ratio'])}",
        ),
    ]


def _small_model(found: Found) -> list[Row]:
    over = found["service_over_bare_pipeline"]
    added = f"{over['p50_added_ms']['median']:.2f} ms, {over['cpu_added_ms']['median']:.2f} ms"
    return [("what a call adds to a model of a millisecond: p50, processor time", added)]


def _saturation(found: Found) -> list[Row]:
    worst = min(min(found[name]["of_what_clients_leave"].values()) for name in ("fpga", "small"))
    return [("calls per second with 2 to 16 clients, over the bare pipeline in a loop, at least", f"{worst:.2f} ×")]


def _secure(found: Found) -> list[Row]:
    ratios = (found[name]["tls_over_plain"]["p50_ratio"] for name in ("fpga", "small_photograph"))
    return [("TLS over plain text: ResNet-50, model of a millisecond", ", ".join(_times(ratio) for ratio in ratios))]


def _start(found: Found) -> list[Row]:
    one = found["fpga"]
    return [
        (
            "from the command to SERVING, over a bare start",
            f"{one['server_start_ms']['median'] / 1000:.1f} s, {one['start_ratio']:.2f} ×",
        ),
        (
            "memory of the idle service, over a bare process with the model",
            f"{one['server_pss_mib']['median']:.0f} MiB, {one['memory_ratio']:.2f} ×",
        ),
    ]


def _overload(found: Found) -> list[Row]:
    one = found["fpga"]
    told = f"{one['goodput_over_peak']['median']:.2f} ×, {one['refused_p99_ms']:.0f} ms, {one['health_p99_ms']:.0f} ms"
    return [(f"{found['times_the_peak']} times too many calls: completed over peak, p99 of refusals, of health", told)]


def _swap(found: Found) -> list[Row]:
    failed = sum(found["failed_calls"].values())
    took = f"{found['swap_ms']['median'] / 1000:.1f} s"
    return [(f"{found['swaps']} swaps of the model under load: one swap, failed calls", f"{took}, {failed}")]


def _attack(found: Found) -> list[Row]:
    attacks = found["attacks"].values()
    far = [part["another_address"] for part in attacks]
    ratios = sorted(part["p99_over_alone"] for part in far)
    peak = max(part["front_peak_mebibytes"] for part in attacks)
    failed = sum(sum(part["failed"].values()) for part in far)
    told = f"{failed} of {failed + sum(part['answered'] for part in far)}, {peak:.0f} MiB"
    return [
        (f"{len(far)} attacks from another address: good calls that failed, peak of the front's memory", told),
        ("… p99 of good calls over p99 alone: median, worst", f"{statistics.median(ratios):.1f} ×, {ratios[-1]:.1f} ×"),
    ]


def _peer_servers(found: Found) -> list[Row]:
    one = found["small"]
    overhead = one["overhead_ms"]
    tools = [
        name for name in overhead if name in found["versions"] and not name.startswith("grpc.") and "," not in name
    ]
    told = ", ".join(f"{name} {overhead[name]:.1f}" for name in sorted(tools, key=lambda name: overhead[name]))
    return [(f"ms that a server adds to a model of a millisecond: ours {overhead['accelform']:.1f}", told)]


def _times(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f} ×"
