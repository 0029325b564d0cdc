"""Raw steps: what each ONNX operator does to maps, one by one, before they are joined into a network's steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelform.topology.constants import Constant
from accelform_runtime.network.steps import Maps, Window
from accelform_runtime.numerics.quantiser import Floats

Vector = npt.NDArray[np.float64]
Kind = Literal["image", "convolution", "affine", "relu", "max", "average", "mean", "add", "concat", "normalise"]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """Where a convolution's weights are and how they lie.

    Attributes:
        form: "OIHW", or for dense layers the order in which the maps were flattened
        transposed: a dense layer's matrix is [out, in]
    """

    constant: Constant
    form: Literal["OIHW", "CHW", "HWC"]
    height: int
    width: int
    in_channels: int
    out_channels: int
    transposed: bool = False

    def array(self) -> Floats:
        """float32 [height, width, in channels, out channels].

        Raises:
            InvalidWeights: NaN or infinite values
        """
        weights = self.constant.finite()
        if self.form == "OIHW":
            weights = weights.transpose(2, 3, 1, 0)
        else:
            matrix = weights.T if self.transposed else weights
            sides = (self.height, self.width)
            if self.form == "CHW":
                weights = matrix.reshape(self.in_channels, *sides, self.out_channels).transpose(1, 2, 0, 3)
            else:
                weights = matrix.reshape(*sides, self.in_channels, self.out_channels)
        return np.ascontiguousarray(weights, dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Raw:
    """One raw step; fields that its kind does not have are None.

    Attributes:
        sources: indices of raw steps
        node: the ONNX node's label
        label: what the step is called instead, where the weights' name tells more
        scale, bias: affine: maps * scale + bias per channel (None: 1 and 0); normalise: scale
        non_negative: surely not below zero
    """

    kind: Kind
    sources: tuple[int, ...]
    maps: Maps
    node: str
    window: Window | None = None
    kernel: Kernel | None = None
    scale: Vector | None = None
    bias: Vector | None = None
    epsilon: float = 0.0
    non_negative: bool = False
    label: str = ""
