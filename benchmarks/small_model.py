"""What a call costs besides the model: a network of about a millisecond behind the server, over the bare pipeline."""

from __future__ import annotations

from typing import Any

from benchmarks.goals import at_most
from benchmarks.serving import against_bare

ROUNDS = 9
CALLS = 1000


def run() -> dict[str, Any]:
    """As `serving`, with the small network."""
    found = against_bare("small", rounds=ROUNDS, calls=CALLS)
    over = found["service_over_bare_pipeline"]
    found["goals"] = [
        at_most("milliseconds added to the bare pipeline's p50", over["p50_added_ms"]["median"], 0.6),
        at_most("p50 over the bare pipeline's", over["p50_ratio"]["median"], 1.25),
        at_most("milliseconds of processor time added to a call", over["cpu_added_ms"]["median"], 0.35),
    ]
    return found
