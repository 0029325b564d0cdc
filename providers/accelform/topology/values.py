"""What a value of an ONNX graph is to the FPGA: maps in some layout, or something on the way to an L2 norm of maps.

A layout is the order in which maps are written out (channels first or last) and the shape that the row takes, so
transposed, flattened and squeezed values are still maps. The batch axis is 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelform.topology.constants import reshaped
from accelform_runtime.network.steps import Maps

Order = Literal["CHW", "HWC"]
Padding = tuple[int, int, int, int]

NO_PADDING: Padding = (0, 0, 0, 0)


class NotLiftable(Exception):
    """An operator that has to stay on the CPU; the message says why. Never leaves this package."""


@dataclass(frozen=True, kw_only=True)
class MapValue:
    """Maps of a raw step, written in `order`, with `shape`.

    Attributes:
        raw: which raw step's
        maps: without `padding`
        shape: of the ONNX value: batch axis included, padding included
        padding: (top, left, bottom, right) that a Pad put around the maps
        fill: what it put there
    """

    raw: int
    maps: Maps
    order: Order
    shape: tuple[int, ...]
    padding: Padding = NO_PADDING
    fill: float = 0.0

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width, padding included."""
        top, left, bottom, right = self.padding
        return self.maps.height + top + bottom, self.maps.width + left + right

    @property
    def plain(self) -> bool:
        return self.padding == NO_PADDING

    @property
    def orders(self) -> tuple[Order, ...]:
        """The orders that give the same row of values, the named one first."""
        other: Order = "HWC" if self.order == "CHW" else "CHW"
        either = prod(self.sides) == 1 or self.maps.channels == 1
        return (self.order, other) if either else (self.order,)

    @property
    def layout(self) -> Order | None:
        """CHW of [1, C, H, W], HWC of [1, H, W, C], else None."""
        height, width = self.sides
        shapes = {"CHW": (1, self.maps.channels, height, width), "HWC": (1, height, width, self.maps.channels)}
        return next((order for order in self.orders if shapes[order] == self.shape), None)

    @property
    def channel_axis(self) -> int | None:
        """The axis along which only the channel changes, if there is one."""
        for order in self.orders:
            axis = 1 if order == "CHW" else len(self.shape) - 1
            if len(self.shape) > 1 and self.shape[axis] == self.maps.channels:
                return axis
        return None

    @property
    def spatial_axes(self) -> tuple[int, int] | None:
        """The axes of height and width."""
        return {"CHW": (2, 3), "HWC": (1, 2), None: None}[self.layout]

    def with_shape(self, shape: tuple[int, ...]) -> MapValue:
        """The same row of values in another shape."""
        if not self.plain:
            raise NotLiftable("reshapes maps that were padded")
        if prod(shape) != prod(self.shape) or not shape or shape[0] != 1:
            raise NotLiftable(f"gives shape {list(shape)}, which has no batch axis first")
        return replace(self, shape=shape)

    def reshaped(self, wanted: list[int], *, allow_zero: bool) -> MapValue:
        try:
            return self.with_shape(reshaped(self.shape, wanted, allow_zero=allow_zero))
        except (ValueError, IndexError) as error:
            raise NotLiftable(f"reshapes {list(self.shape)} to {wanted}") from error

    def transposed(self, perm: tuple[int, ...]) -> MapValue:
        """What a Transpose makes of it; refuses orders of axes that no FPGA step writes."""
        shape = tuple(self.shape[axis] for axis in perm)
        moved = [axis for axis in perm if self.shape[axis] != 1]
        if moved == sorted(moved):
            return replace(self, shape=shape) if self.plain else self._relaid(perm, shape)
        return self._relaid(perm, shape)

    def _relaid(self, perm: tuple[int, ...], shape: tuple[int, ...]) -> MapValue:
        if self.layout == "CHW" and perm == (0, 2, 3, 1):
            return replace(self, order="HWC", shape=shape)
        if self.layout == "HWC" and perm == (0, 3, 1, 2):
            return replace(self, order="CHW", shape=shape)
        if perm == tuple(range(len(perm))):
            return self
        raise NotLiftable(f"moves axes in the order {list(perm)}")


NormStage = Literal["square", "sum", "norm", "inverse"]


@dataclass(frozen=True, kw_only=True)
class NormValue:
    """Something on the way from maps to their L2 norm per position: squares, their sum, its root, the reciprocal.

    Attributes:
        of: the maps
        floor: the sum is at least this (what a Max or a Clip on the way put in)
        scale: one number per channel that the reciprocal was multiplied by already
    """

    of: MapValue
    stage: NormStage
    floor: float = 0.0
    scale: npt.NDArray[np.float64] | None = field(default=None, compare=False)


BlockStage = Literal["swapped", "depth", "batch"]


@dataclass(frozen=True, kw_only=True)
class BlockValue:
    """Maps on the way into a batch of every n-th row and column, or back: how TensorFlow 1 dilates a convolution.

    Attributes:
        of: the maps, channels first; padded before the convolution, plain after it
        stage: [C, 1, H, W], its blocks as channels, or its blocks as batch
        block: n
    """

    of: MapValue
    stage: BlockStage
    block: int = 1


Value = MapValue | NormValue | BlockValue
