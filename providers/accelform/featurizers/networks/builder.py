"""Collects a network's steps; every method adds one and returns its name, which later steps read."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.steps import (
    IMAGE,
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
    Window,
)

IMAGE_CHANNELS = 3


@dataclass(kw_only=True)
class Builder:
    """Steps so far. Channels, heights and widths follow from what each step reads.

    Attributes:
        name: the network's name, the scope of its steps
        image_size: height (= width) of the image
        width_divisor: what `wide` divides by
    """

    name: str
    image_size: int
    width_divisor: int = 1
    steps: list[Step] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    maps: dict[str, Maps] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.maps[IMAGE] = Maps(height=self.image_size, width=self.image_size, channels=IMAGE_CHANNELS)

    def wide(self, channels: int) -> int:
        """`channels` of the full network in one whose counts are all divided.

        Raises:
            ValueError: they can't be divided so.
        """
        if channels % self.width_divisor:
            raise ValueError(
                f"{self.name} can't be {self.width_divisor} times narrower: one of its layers has {channels} channels"
            )
        return channels // self.width_divisor

    def convolution(
        self,
        name: str,
        source: str,
        channels: int,
        window: Window,
        *,
        bias: bool = False,
        batch_norm: BatchNorm | None = None,
        relu: bool = False,
    ) -> str:
        """Variables `<name>/weights` and, with `bias`, `<name>/biases`."""
        return self._add(
            Convolution(
                name=name,
                source=source,
                in_channels=self.maps[source].channels,
                out_channels=channels,
                window=window,
                weights=f"{name}/weights",
                biases=f"{name}/biases" if bias else None,
                batch_norm=batch_norm,
                relu=relu,
            ),
            channels=channels,
            window=window,
        )

    def max_pool(self, name: str, source: str, window: Window) -> str:
        """As many channels as `source`."""
        return self._add(MaxPool(name=name, source=source, window=window), window=window)

    def average_pool(self, name: str, source: str, window: Window) -> str:
        """As many channels as `source`."""
        return self._add(AveragePool(name=name, source=source, window=window), window=window)

    def mean(self, name: str, source: str) -> str:
        """Over height and width."""
        return self._record(
            Mean(name=name, source=source), Maps(height=1, width=1, channels=self.maps[source].channels)
        )

    def add(self, name: str, left: str, right: str) -> str:
        """With ReLU."""
        return self._record(Add(name=name, left=left, right=right, relu=True), self.maps[left])

    def concat(self, name: str, *inputs: str) -> str:
        """Side by side in their channels."""
        first = self.maps[inputs[0]]
        channels = sum(self.maps[value].channels for value in inputs)
        return self._record(
            Concat(name=name, inputs=inputs), Maps(height=first.height, width=first.width, channels=channels)
        )

    def affine(self, source: str, batch_norm: BatchNorm) -> str:
        """A batch norm of its own with ReLU, under the name of its scope."""
        maps = self.maps[source]
        return self._record(
            Affine(name=batch_norm.scope, source=source, channels=maps.channels, batch_norm=batch_norm, relu=True), maps
        )

    def normalise(self, name: str, source: str) -> str:
        """ParseNet's, with its scale in `<name>/gamma`."""
        maps = self.maps[source]
        return self._record(Normalise(name=name, source=source, channels=maps.channels, scale=f"{name}/gamma"), maps)

    def output(self, tensor: str, value: str, shape: tuple[int, ...]) -> None:
        """The maps of `value` leave the FPGA as `tensor`."""
        self.outputs.append(Output(tensor=tensor, value=value, shape=shape))

    def same(self, source: str, kernel: int, *, stride: int = 1, dilation: int = 1) -> Window:
        """TensorFlow's "SAME": ceil(side / stride) remain; of an odd padding the larger half comes after."""
        side = self.maps[source].height
        total = max(0, (ceil(side / stride) - 1) * stride + (kernel - 1) * dilation + 1 - side)
        before, after = total // 2, total - total // 2
        return Window(
            kernel=(kernel, kernel),
            stride=(stride, stride),
            padding=(before, before, after, after),
            dilation=(dilation, dilation),
        )

    def network(self) -> Network:
        """What was collected."""
        return Network(
            name=self.name,
            image=self.maps[IMAGE],
            steps=tuple(self.steps),
            outputs=tuple(self.outputs),
            width_divisor=self.width_divisor,
        )

    def _add(self, step: Convolution | MaxPool | AveragePool, *, window: Window, channels: int | None = None) -> str:
        maps = self.maps[step.source]
        height, width = window.out_sides(maps.height, maps.width)
        return self._record(step, Maps(height=height, width=width, channels=channels or maps.channels))

    def _record(self, step: Step, maps: Maps) -> str:
        self.steps.append(step)
        self.maps[step.name] = maps
        return step.name


def plain(kernel: int, *, stride: int = 1, padding: int = 0) -> Window:
    """A square window with the same padding on every side; none: TensorFlow's "VALID"."""
    return Window(kernel=(kernel, kernel), stride=(stride, stride), padding=(padding,) * 4)
