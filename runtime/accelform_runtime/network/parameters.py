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

    @property
    def convolution(self) -> tuple[Floats, Floats]:
        """Weights and bias."""
        return _there("weights", self.weights), _there("bias", self.bias)

    @property
    def affine(self) -> tuple[Floats, Floats]:
        """Scale and bias."""
        return _there("scale", self.scale), _there("bias", self.bias)

    @property
    def normalise(self) -> Floats:
        """Scale."""
        return _there("scale", self.scale)


Parameters = Mapping[str, StepArrays]
"""Step name -> arrays, for every Convolution, Affine and Normalise of a network."""


def _there(part: str, array: Floats | None) -> Floats:
    if array is None:
        raise ValueError(f"a step has no {part}, which its kind computes with")
    return array
