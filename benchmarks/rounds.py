"""Blocks of calls taken in turning order, and what several rounds of them say: medians with their spread."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """Some calls in a row to one server, or to the bare model."""

    milliseconds: Sequence[float]
    seconds: float
    cpu_seconds: float
    """Of the server and all its processes, or of the bare model's."""
    client_cpu_seconds: float = 0.0

    @property
    def p50(self) -> float:
        """Milliseconds."""
        return statistics.median(self.milliseconds)

    @property
    def p99(self) -> float:
        """Milliseconds, by nearest rank."""
        return percentile(self.milliseconds, 99)

    @property
    def cpu_ms(self) -> float:
        """Processor time per call in milliseconds, the client's not included."""
        return 1000 * self.cpu_seconds / len(self.milliseconds)

    @property
    def rate(self) -> float:
        """Answered calls per second."""
        return len(self.milliseconds) / self.seconds


Rounds = Mapping[str, Sequence[Block]]


def percentile(values: Sequence[float], per_cent: int) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, -(-per_cent * len(ordered) // 100) - 1)]


def interleaved_blocks(sides: Mapping[str, Callable[[], Block]], *, rounds: int) -> dict[str, list[Block]]:
    """A block of each side per round, in turning order (A B, B A, …) so that drift hits all alike."""
    found: dict[str, list[Block]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides) if number % 2 == 0 else reversed(list(sides)):
            found[name].append(sides[name]())
    return found


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """The median of a number that each round gave, its smallest and its largest."""
    return {
        "median": round(statistics.median(values), digits),
        "minimum": round(min(values), digits),
        "maximum": round(max(values), digits),
    }


def summary(blocks: Sequence[Block]) -> dict[str, Any]:
    """p50 by round, p99 over all calls, processor time per call."""
    every = [value for block in blocks for value in block.milliseconds]
    return {
        "calls": len(every),
        "p50_ms": spread([block.p50 for block in blocks]),
        "p99_ms": round(percentile(every, 99), 3),
        "cpu_ms_per_call": spread([block.cpu_ms for block in blocks]),
        "calls_per_second": spread([block.rate for block in blocks], 1),
        **(
            {
                "client_cpu_ms_per_call": spread(
                    [1000 * block.client_cpu_seconds / len(block.milliseconds) for block in blocks]
                )
            }
            if any(block.client_cpu_seconds for block in blocks)
            else {}
        ),
    }


def compared(blocks: Sequence[Block], base: Sequence[Block]) -> dict[str, Any]:
    """One side over another of the same rounds: ratios and differences, round by round."""
    pairs = list(zip(blocks, base, strict=True))
    p99 = [percentile([value for block in side for value in block.milliseconds], 99) for side in (blocks, base)]
    return {
        "p50_ratio": spread([a.p50 / b.p50 for a, b in pairs], 4),
        "p99_ratio": round(p99[0] / p99[1], 4),
        "p50_added_ms": spread([a.p50 - b.p50 for a, b in pairs]),
        "cpu_ratio": spread([a.cpu_ms / b.cpu_ms for a, b in pairs], 4),
        "cpu_added_ms": spread([a.cpu_ms - b.cpu_ms for a, b in pairs]),
    }
