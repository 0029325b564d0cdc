"""Weights streaming from the board's memory: which layers wait for theirs.

Weights arrive in layer order at a constant rate and may be ahead of the running layer by what the buffer holds. A
layer starts when its weights are there, or as much of them as the buffer takes; the rest then streams through while
it runs.
"""

from __future__ import annotations

from collections.abc import Sequence


def stalls_ms(
    compute_ms: Sequence[float], weight_bytes: Sequence[float], *, bytes_per_ms: float, buffer_bytes: float, warm: bool
) -> list[float]:
    """The wait of every layer in milliseconds.

    `warm`: the buffer was filled while the FPGA had nothing to do; else it starts empty.
    """
    total = sum(weight_bytes)
    loaded = min(buffer_bytes, total) if warm else 0.0
    released = 0.0
    waits: list[float] = []
    for compute, weights in zip(compute_ms, weight_bytes, strict=True):
        needed_to_start = released + min(weights, buffer_bytes)
        wait = max(0.0, needed_to_start - loaded) / bytes_per_ms
        loaded = max(loaded, needed_to_start)
        streaming = max(0.0, released + weights - loaded) / bytes_per_ms
        duration = max(compute, streaming)
        waits.append(wait + duration - compute)
        streamed_past = max(0.0, weights - buffer_bytes)
        loaded = min(loaded + duration * bytes_per_ms, released + buffer_bytes + streamed_past, total)
        released += weights
    return waits
