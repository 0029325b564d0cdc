"""The FPGA's queue in modelled time: nobody sleeps, so load tests are quick and repeatable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Slot:
    """When the FPGA takes a request and when the result is there, in seconds on the caller's clock."""

    arrival_seconds: float
    start_seconds: float
    finish_seconds: float

    @property
    def queue_seconds(self) -> float:
        return self.start_seconds - self.arrival_seconds


class VirtualClock:
    """One FPGA that serves in order of submission.

    It can take the next request `occupancy_seconds` after it took the last, and gives a result `latency_seconds`
    after it took the request; the occupancy is at most the latency, because input and output of neighbours overlap.
    Not thread-safe.
    """

    def __init__(self, *, latency_seconds: float, occupancy_seconds: float) -> None:
        if not 0 < occupancy_seconds <= latency_seconds:
            raise ValueError(
                f"occupancy is {occupancy_seconds} s and latency {latency_seconds} s; need 0 < occupancy <= latency"
            )
        self._latency = latency_seconds
        self._occupancy = occupancy_seconds
        self._free_at = float("-inf")

    def submit(self, arrival_seconds: float) -> Slot:
        """Queues a request that arrives then; call it in the order in which requests are to be served."""
        start = max(arrival_seconds, self._free_at)
        self._free_at = start + self._occupancy
        return Slot(arrival_seconds=arrival_seconds, start_seconds=start, finish_seconds=start + self._latency)

    def queue_seconds(self, arrival_seconds: float) -> float:
        """How long a request that arrives then would wait; nothing is queued."""
        return max(0.0, self._free_at - arrival_seconds)
