"""What a call costs besides the model: a network of about a millisecond behind the server, over the bare pipeline."""

from __future__ import annotations

from typing import Any

from benchmarks.serving import against_bare

ROUNDS = 9
CALLS = 1000


def run() -> dict[str, Any]:
    """As `serving`, with the small network."""
    return against_bare("small", rounds=ROUNDS, calls=CALLS)
