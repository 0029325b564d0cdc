"""One row per step of the network: what it is, what it costs on the FPGA, and how exact it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from accelform_runtime.network.steps import Add, Affine, AveragePool, Convolution, MaxPool

if TYPE_CHECKING:
    from accelform.report.findings import Fidelity, LayerFidelity
    from accelform_runtime.network.network import Network
    from accelform_runtime.network.steps import Step
    from accelform_runtime.timing.estimate import Estimate, LayerEstimate


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One step. Costs are None where the estimate has none for the step, SQNR where nothing was measured.

    Attributes:
        position: in execution order, from 1
        name: without the network's scope
        kind: Convolution, MaxPool, ...
        settings: kernel, stride and what follows at once, e.g. `3x3 /2, ReLU`
        shape: height, width, channels of its output
        weight_bytes: in the number format
        cycles: without the fill; latency_ms has it
        sqnr_db: of all images together; None also where no value differed (then `exact`)
    """

    position: int
    name: str
    kind: str
    settings: str
    shape: tuple[int, int, int]
    multiply_accumulates: int
    weight_bytes: float | None
    cycles: float | None
    utilisation: float | None
    stall_ms: float | None
    latency_ms: float | None
    measured: bool = False
    exact: bool = False
    sqnr_db: float | None = None
    worst_db: float | None = None

    def as_dict(self) -> dict[str, Any]:
        plain = asdict(self)
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in plain.items()}


def rows_of(network: Network, estimate: Estimate, fidelity: Fidelity | None) -> tuple[LayerRow, ...]:
    """Steps in execution order."""
    costs: Mapping[str, LayerEstimate] = {layer.name: layer for layer in estimate.layers}
    exactness: Mapping[str, LayerFidelity] = {layer.name: layer for layer in fidelity.layers} if fidelity else {}
    return tuple(
        _row(position, step, network, costs.get(step.name), exactness.get(step.name))
        for position, step in enumerate(network.steps, 1)
    )


def short_name(network: Network, name: str) -> str:
    """A step's name without the network's scope."""
    return name.removeprefix(f"{network.name}/")


def group_of(name: str) -> str:
    """The stage that a short name belongs to: what comes before its first slash."""
    return name.split("/")[0]


def settings_of(step: Step) -> str:
    """What a reader wants to know beside the kind."""
    found: list[str] = []
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        window = step.window
        found.append(_pair(window.kernel))
        if window.stride != (1, 1):
            found[-1] += f" /{_single(window.stride)}"
        if window.dilation != (1, 1):
            found.append(f"dilation {_single(window.dilation)}")
    if isinstance(step, (Convolution, Add, Affine)) and step.relu:
        found.append("ReLU")
    return ", ".join(found)


def _row(
    position: int, step: Step, network: Network, cost: LayerEstimate | None, exactness: LayerFidelity | None
) -> LayerRow:
    maps = network.maps[step.name]
    convolution = isinstance(step, Convolution)
    return LayerRow(
        position=position,
        name=short_name(network, step.name),
        kind=type(step).__name__,
        settings=settings_of(step),
        shape=(maps.height, maps.width, maps.channels),
        multiply_accumulates=(
            maps.height * maps.width * prod(step.weights_shape) if isinstance(step, Convolution) else 0
        ),
        weight_bytes=cost.weight_bytes if cost else None if convolution else 0.0,
        cycles=cost.cycles if cost else None,
        utilisation=cost.utilisation if cost else None,
        stall_ms=cost.stall_ms if cost else None,
        latency_ms=cost.latency_ms if cost else None,
        measured=exactness is not None,
        exact=exactness is not None and exactness.exact,
        sqnr_db=exactness.finite_db if exactness else None,
        worst_db=exactness.finite_worst_db if exactness else None,
    )


def _pair(sides: tuple[int, int]) -> str:
    return f"{sides[0]}\u00d7{sides[1]}"


def _single(sides: tuple[int, int]) -> str:
    return str(sides[0]) if sides[0] == sides[1] else _pair(sides)
