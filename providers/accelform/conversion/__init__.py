"""Converts a model for the FPGA: quantised weights, a served graph of standard operators, a forecast and a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelform.conversion.converter import Conversion, convert

CONVERTER_VERSION = "3"
"""Changes whenever the same source would give another bundle; part of a converted model's identity."""

__all__ = ["CONVERTER_VERSION", "Conversion", "convert"]


def __getattr__(name: str) -> Any:
    # NumPy and onnx are imported on first use only: the Pulumi plugin loads this package at start.
    if name in ("Conversion", "convert"):
        from accelform.conversion import converter as module

        return getattr(module, name)
    raise AttributeError(name)
