"""Times the modelled FPGA would have taken, on a clock of its own: nothing sleeps for them."""

from __future__ import annotations

import dataclasses

from accelform_runtime.protocol import FPGA_LATENCY_KEY, FPGA_OCCUPANCY_KEY, FPGA_QUEUE_KEY
from accelform_runtime.timing.clock import VirtualClock


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelledTimes:
    """One call on the modelled FPGA, in milliseconds."""

    queue_ms: float
    """Time it would have waited for calls before it."""
    latency_ms: float
    """From its first image's start to its last image's end."""
    occupancy_ms: float
    """Time during which the FPGA took no other call."""

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The times as trailing metadata."""
        return (
            (FPGA_LATENCY_KEY, f"{self.latency_ms:.4f}"),
            (FPGA_OCCUPANCY_KEY, f"{self.occupancy_ms:.4f}"),
            (FPGA_QUEUE_KEY, f"{self.queue_ms:.4f}"),
        )


class ModelledFpga:
    """The FPGA's own time line: a call's images follow each other, and the next call waits for them."""

    def __init__(self, *, latency_ms: float, occupancy_ms: float) -> None:
        self._clock = VirtualClock(latency_seconds=latency_ms / 1000, occupancy_seconds=occupancy_ms / 1000)
        self._occupancy_ms = occupancy_ms

    def submit(self, arrival_seconds: float, images: int) -> ModelledTimes:
        """Puts a call of `images` images that arrived at `arrival_seconds` (time.monotonic()'s scale) on the line.

        Not thread-safe: the one worker thread calls it in the order in which it serves.
        """
        slots = [self._clock.submit(arrival_seconds) for _ in range(images)]
        return ModelledTimes(
            queue_ms=slots[0].queue_seconds * 1000,
            latency_ms=(slots[-1].finish_seconds - slots[0].start_seconds) * 1000,
            occupancy_ms=images * self._occupancy_ms,
        )
