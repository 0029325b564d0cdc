"""The arrays that a network's steps compute with, batch norm already folded in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelform_runtime.numerics.quantiser import Floats


@dataclass(frozen=True, kw_only=True)
class StepArrays:
    """One step's float32 arrays; those that its kind does not have are None.

    Attributes:
        weights: Convolution: [kernel height, kernel width, in channels, out channels] (HWIO)
        scale: Affine and Normalise: [channels]
        bias: Convolution: [out channels], zeros if there is none; Affine: [channels]
    """

    weights: Floats | None = None
    scale: Floats | None = None
    bias: Floats | None = None


Parameters = Mapping[str, StepArrays]
"""Step name -> arrays, for every Convolution, Affine and Normalise of a network."""
