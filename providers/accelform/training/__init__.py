"""Keras layers and networks that compute as the FPGA does, with gradients: for fine-tuning in block floating point.

TensorFlow is imported with the first name that is taken from here; without it that raises `TrainingUnavailable`, whose
message says what to install.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "NetworkLayers": "network_layers",
    "Settings": "layers",
    "pointwise": "quantiser",
    "quantise": "quantiser",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
