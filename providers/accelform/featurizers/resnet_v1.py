"""The layer plan of ResNet v1 as tf-slim defines it: the stride sits in the last unit of a block, on its 3x3.

Source: He et al. 2016 (the topology); tf-slim's `resnet_v1` and `resnet_utils` (names, strides, paddings,
    batch-norm epsilon). The plan holds no weights; the converter, the NumPy reference, the weight loaders and the
    estimate all walk this same plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

BATCH_NORM_EPSILON = 1e-5
"""tf-slim's `resnet_arg_scope` default."""

BATCH_NORM_VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")

IMAGE_CHANNELS = 3
BOTTLENECK_EXPANSION = 4
STEM_CHANNELS = 64
UNITS_PER_BLOCK = {"resnet_v1_50": (3, 4, 6, 3)}


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution with its folded batch norm, on square maps.

    Attributes:
        name: scope of the variables, e.g. `resnet_v1_50/block1/unit_1/bottleneck_v1/conv1`
        kernel, stride: of both directions
        padding: rows and columns of zeros on every side
        in_size, out_size: height (= width) of the maps
        relu: whether a ReLU follows directly (the third convolution and the shortcut have theirs after the addition)
    """

    name: str
    in_channels: int
    out_channels: int
    kernel: int
    stride: int
    padding: int
    in_size: int
    relu: bool

    @property
    def out_size(self) -> int:
        return (self.in_size + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """HWIO."""
        return (self.kernel, self.kernel, self.in_channels, self.out_channels)

    @property
    def multiply_accumulates(self) -> int:
        return self.out_size**2 * self.kernel**2 * self.in_channels * self.out_channels

    def variables(self) -> dict[str, tuple[int, ...]]:
        """Variable name -> shape: the HWIO weights and the four batch-norm vectors."""
        names: dict[str, tuple[int, ...]] = {f"{self.name}/weights": self.weights_shape}
        names |= {f"{self.name}/BatchNorm/{part}": (self.out_channels,) for part in BATCH_NORM_VARIABLES}
        return names


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One bottleneck unit: out = ReLU(shortcut(x) + conv3(conv2(conv1(x)))).

    `shortcut` is a convolution where the depth changes; else x itself, every `stride`-th row and column of it.
    """

    name: str
    stride: int
    shortcut: Convolution | None
    conv1: Convolution
    conv2: Convolution
    conv3: Convolution

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        main = (self.conv1, self.conv2, self.conv3)
        return main if self.shortcut is None else (self.shortcut, *main)


@dataclass(frozen=True, kw_only=True)
class ResNetPlan:
    """A whole featurizer: stem, 3x3/2 max pool (TF "SAME": one row and column after), units, spatial mean."""

    scope: str
    width_divisor: int
    stem: Convolution
    units: tuple[Unit, ...]

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """All convolutions in execution order (53 of ResNet-50)."""
        return (self.stem, *(conv for unit in self.units for conv in unit.convolutions))

    @property
    def feature_length(self) -> int:
        return self.units[-1].conv3.out_channels

    @property
    def feature_size(self) -> int:
        """Height (= width) of the maps that the final mean runs over."""
        return self.units[-1].conv3.out_size

    @property
    def multiply_accumulates(self) -> int:
        return sum(conv.multiply_accumulates for conv in self.convolutions)

    def variables(self) -> dict[str, tuple[int, ...]]:
        """Every variable of the featurizer: name -> shape, float32."""
        return {name: shape for conv in self.convolutions for name, shape in conv.variables().items()}

    def classifier_variables(self, classes: int) -> dict[str, tuple[int, ...]]:
        """The classifier on top: a 1x1 convolution with bias."""
        return {
            f"{self.scope}/logits/weights": (1, 1, self.feature_length, classes),
            f"{self.scope}/logits/biases": (classes,),
        }


def resnet_v1_50(*, width_divisor: int = 1, image_size: int = 224) -> ResNetPlan:
    """The plan of `resnet_v1_50`; `width_divisor` k divides every channel count by k (the same topology, narrower)."""
    return _plan("resnet_v1_50", width_divisor=width_divisor, image_size=image_size)


def _plan(scope: str, *, width_divisor: int, image_size: int) -> ResNetPlan:
    stem = Convolution(
        name=f"{scope}/conv1",
        in_channels=IMAGE_CHANNELS,
        out_channels=STEM_CHANNELS // width_divisor,
        kernel=7,
        stride=2,
        padding=3,
        in_size=image_size,
        relu=True,
    )
    pooled_size = (stem.out_size + 1) // 2
    units = tuple(_units(scope, UNITS_PER_BLOCK[scope], stem.out_channels, pooled_size, width_divisor))
    return ResNetPlan(scope=scope, width_divisor=width_divisor, stem=stem, units=units)


def _units(
    scope: str, units_per_block: tuple[int, ...], in_channels: int, in_size: int, width_divisor: int
) -> Iterator[Unit]:
    last_block = len(units_per_block)
    for block, units in enumerate(units_per_block, start=1):
        base = (STEM_CHANNELS << (block - 1)) // width_divisor
        for index in range(1, units + 1):
            stride = 2 if index == units and block != last_block else 1
            unit = _unit(f"{scope}/block{block}/unit_{index}/bottleneck_v1", in_channels, base, in_size, stride)
            yield unit
            in_channels, in_size = unit.conv3.out_channels, unit.conv3.out_size


def _unit(name: str, in_channels: int, base: int, in_size: int, stride: int) -> Unit:
    out_channels = base * BOTTLENECK_EXPANSION

    def conv(part: str, source: int, target: int, kernel: int, size: int, step: int, relu: bool) -> Convolution:
        return Convolution(
            name=f"{name}/{part}",
            in_channels=source,
            out_channels=target,
            kernel=kernel,
            stride=step,
            padding=kernel // 2,
            in_size=size,
            relu=relu,
        )

    conv2 = conv("conv2", base, base, 3, in_size, stride, relu=True)
    return Unit(
        name=name,
        stride=stride,
        shortcut=None
        if in_channels == out_channels
        else conv("shortcut", in_channels, out_channels, 1, in_size, stride, relu=False),
        conv1=conv("conv1", in_channels, base, 1, in_size, 1, relu=True),
        conv2=conv2,
        conv3=conv("conv3", base, out_channels, 1, conv2.out_size, 1, relu=False),
    )
