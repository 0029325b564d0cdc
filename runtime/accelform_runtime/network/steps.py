"""What a network is made of. Each step reads earlier steps' maps by name and gives maps under its own name.

Maps are [height, width, channels] of one image. A step knows what a framework's author would call its settings, and
where its variables are; arrays are elsewhere, so plans, forecasts and comparisons cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

IMAGE = "image"
"""What the first step reads: the preprocessed image, float32."""

BATCH_NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")

Variables = dict[str, tuple[int, ...]]
"""Variable name -> shape, float32."""


@dataclass(frozen=True, kw_only=True)
class Maps:
    """The shape of a value."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> int:
        return self.height * self.width * self.channels


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """Where a batch norm's four vectors are (`<scope>/gamma`, ...) and what is added to the variance."""

    scope: str
    epsilon: float

    def variables(self, channels: int) -> Variables:
        return {f"{self.scope}/{part}": (channels,) for part in BATCH_NORM_PARTS}


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a convolution or a pool walks over its maps; pairs are (height, width).

    `padding` counts rows and columns around the maps: (top, left, bottom, right).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def out_sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the walk; less than one means that the kernel does not fit."""
        top, left, bottom, right = self.padding
        sides = ((height, top + bottom, 0), (width, left + right, 1))
        rows, columns = (
            (side + pad - (self.kernel[axis] - 1) * self.dilation[axis] - 1) // self.stride[axis] + 1
            for side, pad, axis in sides
        )
        return rows, columns


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """A convolution with what follows it at once: batch norm or bias, then ReLU.

    A dense layer is one whose kernel covers its maps. Without `biases` and `batch_norm` there is nothing to add.

    Attributes:
        weights: the variable, HWIO
        biases: the variable, or None
        batch_norm: folded into weights and bias before quantising
    """

    name: str
    source: str
    in_channels: int
    out_channels: int
    window: Window
    weights: str
    biases: str | None = None
    batch_norm: BatchNorm | None = None
    relu: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def weights_shape(self) -> tuple[int, int, int, int]:
        """HWIO."""
        return (*self.window.kernel, self.in_channels, self.out_channels)

    def variables(self) -> Variables:
        found: Variables = {self.weights: self.weights_shape}
        if self.biases is not None:
            found[self.biases] = (self.out_channels,)
        if self.batch_norm is not None:
            found |= self.batch_norm.variables(self.out_channels)
        return found

    def out_maps(self, maps: Maps) -> Maps:
        height, width = self.window.out_sides(maps.height, maps.width)
        return Maps(height=height, width=width, channels=self.out_channels)

    def multiply_accumulates(self, maps: Maps) -> int:
        """Of one image, where the step reads `maps`."""
        out = self.out_maps(maps)
        return out.height * out.width * prod(self.weights_shape)


@dataclass(frozen=True, kw_only=True)
class MaxPool:
    """The largest value under the window; padding never wins."""

    name: str
    source: str
    window: Window

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class AveragePool:
    """The mean of the values under the window, padding not counted.

    The sum is taken in float64, the quotient rounded to float32, then to the point-wise type.
    """

    name: str
    source: str
    window: Window

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over height and width: maps [1, 1, channels]. Rounded as `AveragePool`."""

    name: str
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)


@dataclass(frozen=True, kw_only=True)
class Add:
    """The sum of two maps of one shape in the point-wise type, then ReLU."""

    name: str
    left: str
    right: str
    relu: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, kw_only=True)
class Concat:
    """Maps of one height and width side by side in their channels, in order."""

    name: str
    inputs: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return self.inputs


@dataclass(frozen=True, kw_only=True)
class Affine:
    """A batch norm that no convolution precedes: maps * scale + bias per channel, then ReLU.

    Scale and bias are rounded to the point-wise type, and so are the product and the sum.
    """

    name: str
    source: str
    channels: int
    batch_norm: BatchNorm
    relu: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def variables(self) -> Variables:
        return self.batch_norm.variables(self.channels)


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """maps / sqrt(max(sum over channels of maps^2, epsilon)) * scale, per position (ParseNet's L2 normalisation).

    The sum is taken in float64; root, quotient and product are float64 too and rounded once to float32, then to the
    point-wise type.
    """

    name: str
    source: str
    channels: int
    scale: str
    epsilon: float = 1e-12

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def variables(self) -> Variables:
        return {self.scale: (self.channels,)}


Pool = MaxPool | AveragePool
Step = Convolution | MaxPool | AveragePool | Mean | Add | Concat | Affine | Normalise
KINDS: dict[str, type[Step]] = {
    kind.__name__: kind for kind in (Convolution, MaxPool, AveragePool, Mean, Add, Concat, Affine, Normalise)
}
