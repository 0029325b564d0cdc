"""What a call brought back: the outputs, and the times measured and modelled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import InvalidRequest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Modelled:
    """Times on the modelled FPGA, in milliseconds."""

    latency_ms: float
    occupancy_ms: float
    queue_ms: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exactness:
    """Why an answer equals its number format's definition bit for bit."""

    how: str
    """`construction`: the engine adds in the definition's order. `proven`: every sum is independent of the order.
    `definition`: some sums were not proven, so the answer was computed by the definition itself."""
    sums: int
    """Sums that were looked at; 0 where the engine is exact by construction."""
    proven: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreResult:
    """The answer to one call."""

    outputs: Mapping[str, NDArray[Any]]
    """Outputs by the names the call used; each has the batch as its first dimension. Sorted, numbers by value."""
    model_name: str
    model_version: int
    request_id: str
    """What the service's log calls this call."""
    round_trip_ms: float
    """Measured by the client, from sending to the answer."""
    server_ms: float | None
    """Measured by the service; None where it does not tell."""
    modelled: Modelled | None
    """None where the service models no FPGA."""
    engine: str = ""
    """What computed the answer; empty where the service does not tell, as for the next two."""
    number_format: str = ""
    bitstream: str = ""
    """The family whose bitstream the FPGA would load, or `none`."""
    exactness: Exactness | None = None
    """None where the call did not ask for it."""

    @property
    def array(self) -> NDArray[Any]:
        """The only output. Raises InvalidRequest when there are several."""
        if len(self.outputs) != 1:
            raise InvalidRequest(f"the answer has {len(self.outputs)} outputs ({', '.join(self.outputs)}); choose one")
        return next(iter(self.outputs.values()))

    def top(self, count: int = 5) -> list[tuple[int, float]]:
        """The most probable classes of the first image: class index and probability, best first."""
        scores = self.array[0].reshape(-1)
        best = np.argsort(-scores, kind="stable")[:count]
        return [(int(index), float(scores[index])) for index in best]
