"""Keras layers and networks that compute as the FPGA does, with gradients: for fine-tuning in block floating point.

TensorFlow is imported with the first name that is taken from here; without it that raises `TrainingUnavailable`, whose
message says what to install.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Classifier": "classifier",
    "Densenet121": "featurizers",
    "Featurizer": "featurizer",
    "NetworkLayers": "network_layers",
    "QuantizedDensenet121": "featurizers",
    "QuantizedResnet152": "featurizers",
    "QuantizedResnet50": "featurizers",
    "QuantizedSsdVgg": "featurizers",
    "QuantizedVgg16": "featurizers",
    "Resnet152": "featurizers",
    "Resnet50": "featurizers",
    "Settings": "layers",
    "SsdVgg": "featurizers",
    "Vgg16": "featurizers",
    "pointwise": "quantiser",
    "quantise": "quantiser",
    "write_specification": "specification",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
