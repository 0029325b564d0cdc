"""The settings of Azure ML's `preprocess_array`: data that specifications, families and the converter share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How an image becomes what the network reads.

    Attributes:
        order: `RGB` or `BGR`
        scaling_factor: multiplies the centred values
        keep_aspect_ratio: the shorter side becomes 256 and the centre is cut out; else the whole image is stretched to
            the network's size
        means: ImageNet's means are taken off first
    """

    order: str = "RGB"
    scaling_factor: float = 1.0
    keep_aspect_ratio: bool = True
    means: bool = True
