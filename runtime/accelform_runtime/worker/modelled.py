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

    @classmethod
    def none(cls) -> ModelledTimes:
        """Those of a call that asks nothing of the FPGA."""
        return cls(queue_ms=0.0, latency_ms=0.0, occupancy_ms=0.0)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """The times as trailing metadata."""
        return (
            (FPGA_LATENCY_KEY, f"{self.latency_ms:.4f}"),
            (FPGA_OCCUPANCY_KEY, f"{self.occupancy_ms:.4f}"),
            (FPGA_QUEUE_KEY, f"{self.queue_ms:.4f}"),
        )


class ModelledFpga:
    """The FPGA's own time line: images follow each other, of whichever call each one is."""

    def __init__(self, *, latency_ms: float, occupancy_ms: float) -> None:
        self._clock = VirtualClock(latency_seconds=latency_ms / 1000, occupancy_seconds=occupancy_ms / 1000)
        self._occupancy_ms = occupancy_ms

    def submit(self, arrival_seconds: float, before: ModelledTimes | None = None) -> ModelledTimes:
        """Puts one image on the line, of a call that arrived at `arrival_seconds` (time.monotonic()'s scale).

        `before` are the times of the call's images so far, None for its first; returns them with this one. Calls are to
        be told in the order in which their images are served. Not thread-safe.
        """
        slot = self._clock.submit(arrival_seconds)
        queue_ms = slot.queue_seconds * 1000 if before is None else before.queue_ms
        return ModelledTimes(
            queue_ms=queue_ms,
            latency_ms=(slot.finish_seconds - arrival_seconds) * 1000 - queue_ms,
            occupancy_ms=self._occupancy_ms + (0.0 if before is None else before.occupancy_ms),
        )
