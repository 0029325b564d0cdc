"""A whole network: steps in execution order, the image they start from, the tensors they end in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from accelform_runtime.network.steps import (
    IMAGE,
    KINDS,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Step,
    Variables,
    Window,
)
from accelform_runtime.timing.estimate import ConvLayer


class NetworkInvalid(ValueError):
    """Steps that don't fit each other; the message names the step."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """A tensor that leaves the FPGA.

    Attributes:
        tensor: its TensorFlow name, `scope/op:0`
        value: the step whose maps it is
        shape: without the batch axis; the maps in row-major order, channels last, take this shape
    """

    tensor: str
    value: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Network:
    """Steps over one image. Making one checks that every step's sources exist and fit.

    Attributes:
        name: the scope of its variables, e.g. `resnet_v1_50`
        image: shape of the preprocessed image
        width_divisor: every channel count of the family divided by it
    """

    name: str
    image: Maps
    steps: tuple[Step, ...]
    outputs: tuple[Output, ...]
    width_divisor: int = 1

    def __post_init__(self) -> None:
        for output in self.outputs:
            if output.value not in self.maps:
                raise NetworkInvalid(f"{self.name}: output {output.tensor} is of {output.value}, which no step gives")

    @cached_property
    def maps(self) -> Mapping[str, Maps]:
        """Value name -> shape, `image` first.

        Raises:
            NetworkInvalid: a step reads what is not there, or what does not fit it.
        """
        known: dict[str, Maps] = {IMAGE: self.image}
        for step in self.steps:
            if missing := [source for source in step.sources if source not in known]:
                raise NetworkInvalid(f"{self.name}: {step.name} reads {missing[0]}, which no step before it gives")
            if step.name in known:
                raise NetworkInvalid(f"{self.name}: two steps are called {step.name}")
            known[step.name] = _out_maps(step, [known[source] for source in step.sources])
        return known

    @cached_property
    def by_name(self) -> Mapping[str, Step]:
        return {step.name: step for step in self.steps}

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """In execution order."""
        return tuple(step for step in self.steps if isinstance(step, Convolution))

    @property
    def multiply_accumulates(self) -> int:
        return sum(conv.multiply_accumulates(self.maps[conv.source]) for conv in self.convolutions)

    @cached_property
    def non_negative(self) -> frozenset[str]:
        """Values that can't be below zero: after a ReLU, and what pools, means and concats make of such."""
        found: set[str] = set()
        for step in self.steps:
            if isinstance(step, (Convolution, Add, Affine)):
                sure = step.relu
            else:
                sure = not isinstance(step, Normalise) and all(source in found for source in step.sources)
            if sure:
                found.add(step.name)
        return frozenset(found)

    def variables(self) -> Variables:
        """Every variable: name -> shape, in execution order."""
        found: Variables = {}
        for step in self.steps:
            if isinstance(step, (Convolution, Affine, Normalise)):
                found |= step.variables()
        return found

    def conv_layers(self) -> tuple[ConvLayer, ...]:
        """What the timing model needs to know."""
        return tuple(self._conv_layers())

    def _conv_layers(self) -> Iterator[ConvLayer]:
        for conv in self.convolutions:
            out = self.maps[conv.name]
            yield ConvLayer(
                name=conv.name,
                positions=out.height * out.width,
                in_channels=conv.in_channels,
                out_channels=conv.out_channels,
                kernel_height=conv.window.kernel[0],
                kernel_width=conv.window.kernel[1],
            )

    def as_dict(self) -> dict[str, Any]:
        """Plain data, read back by `from_dict`."""
        return {
            "name": self.name,
            "image": asdict(self.image),
            "width_divisor": self.width_divisor,
            "steps": [step_as_dict(step) for step in self.steps],
            "outputs": [asdict(output) for output in self.outputs],
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Network:
        """The network that `as_dict` (or JSON of it) describes.

        Raises:
            NetworkInvalid: the description is incomplete, or its steps don't fit.
        """
        try:
            return cls(
                name=str(plain["name"]),
                image=Maps(**plain["image"]),
                width_divisor=int(plain["width_divisor"]),
                steps=tuple(step_from_dict(row) for row in plain["steps"]),
                outputs=tuple(Output(**{**row, "shape": tuple(row["shape"])}) for row in plain["outputs"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise NetworkInvalid(f"the description of the network is damaged: {error!r}") from error


def _out_maps(step: Step, sources: list[Maps]) -> Maps:
    first = sources[0]
    if isinstance(step, Convolution):
        _need(step, step.in_channels == first.channels, f"takes {step.in_channels} channels", first)
        out = step.out_maps(first)
    elif isinstance(step, (MaxPool, AveragePool)):
        height, width = step.window.out_sides(first.height, first.width)
        out = Maps(height=height, width=width, channels=first.channels)
    elif isinstance(step, Mean):
        out = Maps(height=1, width=1, channels=first.channels)
    elif isinstance(step, Add):
        _need(step, sources[1] == first, f"adds maps of {sources[1]}", first)
        out = first
    elif isinstance(step, Concat):
        fits = all((maps.height, maps.width) == (first.height, first.width) for maps in sources)
        _need(step, fits, "joins maps of other sizes", first)
        out = Maps(height=first.height, width=first.width, channels=sum(maps.channels for maps in sources))
    else:
        _need(step, step.channels == first.channels, f"takes {step.channels} channels", first)
        out = first
    _need(step, min(out.height, out.width, out.channels) >= 1, "has nothing left to give", first)
    return out


def _need(step: Step, fits: bool, what: str, maps: Maps) -> None:
    if not fits:
        raise NetworkInvalid(f"{step.name} {what}; it reads {maps.height} x {maps.width} x {maps.channels}")


def step_as_dict(step: Step) -> dict[str, Any]:
    """Plain data, read back by `step_from_dict`."""
    return {"kind": type(step).__name__, **asdict(step)}


def step_from_dict(plain: Mapping[str, Any]) -> Step:
    """The step that `step_as_dict` (or JSON of it) describes.

    Raises:
        KeyError, TypeError, AttributeError: the description is incomplete.
    """
    row = dict(plain)
    kind = KINDS[row.pop("kind")]
    if row.get("window") is not None:
        row["window"] = Window(**{key: tuple(value) for key, value in row["window"].items()})
    if row.get("batch_norm") is not None:
        row["batch_norm"] = BatchNorm(**row["batch_norm"])
    if "inputs" in row:
        row["inputs"] = tuple(row["inputs"])
    return kind(**row)
