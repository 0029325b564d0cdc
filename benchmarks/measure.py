"""Timing by interleaved rounds, and summaries that keep their spread."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Milliseconds over `count` measurements."""

    count: int
    median_ms: float
    p99_ms: float
    minimum_ms: float
    maximum_ms: float

    def as_dict(self) -> dict[str, Any]:
        return {key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self).items()}


def summarise(seconds: Sequence[float]) -> Summary:
    """The median, the 99th percentile (nearest rank) and the extremes of `seconds`."""
    ordered = sorted(value * 1000 for value in seconds)
    rank = max(0, -(-99 * len(ordered) // 100) - 1)
    return Summary(
        count=len(ordered),
        median_ms=statistics.median(ordered),
        p99_ms=ordered[rank],
        minimum_ms=ordered[0],
        maximum_ms=ordered[-1],
    )


def timed(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def interleaved(calls: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int) -> dict[str, list[float]]:
    """Seconds of each call over `rounds`, one after the other in turning order (A B, B A, …) so that drift hits all."""
    for call in calls.values():
        for _ in range(warm_up):
            call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls) if number % 2 == 0 else reversed(list(calls)):
            seconds[name].append(timed(calls[name]))
    return seconds


def ratio(seconds: Sequence[float], over: Sequence[float]) -> dict[str, float]:
    """The ratio of two interleaved series: of their medians, and the quartiles of the ratio pair by pair."""
    pairs = sorted(a / b for a, b in zip(seconds, over, strict=True))
    low, _, high = statistics.quantiles(pairs, n=4)
    return {
        "of_medians": round(statistics.median(seconds) / statistics.median(over), 4),
        "lower_quartile": round(low, 4),
        "upper_quartile": round(high, 4),
    }
