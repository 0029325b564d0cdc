"""What a measurement found: layer by layer, tensor by tensor, and over all images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from accelform.report.agreement import Agreement
from accelform.report.detection import DetectionAgreement
from accelform.report.signal import SignalSums, finite, noise_share

if TYPE_CHECKING:
    from accelform_runtime.network.network import Network


@dataclass(frozen=True, kw_only=True)
class LayerFidelity:
    """One layer's output against the float32 graph's same layer.

    Attributes:
        sqnr_db: 10 log10(sum of squares / sum of squared differences) over all images; infinite where nothing differs
        worst_db: of the worst image
        drop_db: its worst input's `sqnr_db` minus its own; None where either has no noise
        added_noise: noise over signal at its output minus the same at its worst input; what the layer itself spoils
    """

    name: str
    sqnr_db: float
    worst_db: float
    drop_db: float | None
    added_noise: float

    @property
    def exact(self) -> bool:
        return self.sqnr_db == inf

    @property
    def finite_db(self) -> float | None:
        return finite(self.sqnr_db)

    @property
    def finite_worst_db(self) -> float | None:
        return finite(self.worst_db)


@dataclass(frozen=True, kw_only=True)
class TensorFidelity:
    """A tensor that leaves the FPGA or the service, over all images."""

    tensor: str
    sqnr_db: float
    cosine: float
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """The measurement.

    Attributes:
        limit_db: below it a layer has gone wrong
        layers: in execution order; empty where they were not asked for
        first_wrong: the first layer in execution order below `limit_db`; None: none is
        noisiest: the layer that adds most noise; None: none adds any
        features: tensors that leave the FPGA
        outputs: tensors that leave the service
        agreement: of classifiers, else None
        detections: of detectors, else None
    """

    number_format: str
    images: int
    limit_db: float
    layers: tuple[LayerFidelity, ...]
    first_wrong: str | None
    noisiest: str | None
    features: tuple[TensorFidelity, ...]
    outputs: tuple[TensorFidelity, ...]
    agreement: Agreement | None
    detections: DetectionAgreement | None

    def as_dict(self) -> dict[str, Any]:
        """Plain data; decibels are null where nothing differs."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def layer_rows(network: Network, sums: Mapping[str, SignalSums]) -> tuple[LayerFidelity, ...]:
    """Steps that were looked at, in execution order."""
    known = {step.name: sums[step.name].sqnr_db for step in network.steps if step.name in sums}
    rows = []
    for step in network.steps:
        if step.name not in known:
            continue
        before = min((known.get(source, inf) for source in step.sources), default=inf)
        own = known[step.name]
        drop = before - own if before != inf and own != inf else None
        rows.append(
            LayerFidelity(
                name=step.name,
                sqnr_db=own,
                worst_db=sums[step.name].worst_db,
                drop_db=drop,
                added_noise=noise_share(own) - noise_share(before),
            )
        )
    return tuple(rows)


def text_db(value: float) -> str:
    """For people: `23.4 dB`, `exact`, or `noise only`."""
    if value == -inf:
        return "noise only"
    return "exact" if value == inf else f"{finite(value):.1f} dB"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if value == inf else round(finite(value) or 0.0, 6)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
