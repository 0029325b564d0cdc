"""The ten featurizers of Azure ML's accelerated models package under its names: five families, two kinds of numbers.

    images = keras.Input((224, 224, 3))
    featurizer = QuantizedResnet50(weights="resnet50.npz", is_frozen=True)
    features = featurizer.attach(images)

All take the arguments of `Featurizer` after `family` and `quantized`; only the quantized ones take `number_format`.
"""

from __future__ import annotations

from typing import Any

from accelform.training.featurizer import Featurizer


class Resnet50(Featurizer):
    """ResNet 50 in float32: features [n, 1, 1, 2048]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("resnet50", quantized=False, **arguments)


class QuantizedResnet50(Featurizer):
    """ResNet 50 in block floating point: features [n, 1, 1, 2048]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("resnet50", quantized=True, **arguments)


class Resnet152(Featurizer):
    """ResNet 152 in float32: features [n, 1, 1, 2048]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("resnet152", quantized=False, **arguments)


class QuantizedResnet152(Featurizer):
    """ResNet 152 in block floating point: features [n, 1, 1, 2048]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("resnet152", quantized=True, **arguments)


class Densenet121(Featurizer):
    """DenseNet-121 in float32: features [n, 1, 1, 1024]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("densenet121", quantized=False, **arguments)


class QuantizedDensenet121(Featurizer):
    """DenseNet-121 in block floating point: features [n, 1, 1, 1024]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("densenet121", quantized=True, **arguments)


class Vgg16(Featurizer):
    """VGG-16 in float32, fc6 and fc7 inside: features [n, 1, 1, 4096]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("vgg16", quantized=False, **arguments)


class QuantizedVgg16(Featurizer):
    """VGG-16 in block floating point, fc6 and fc7 inside: features [n, 1, 1, 4096]."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("vgg16", quantized=True, **arguments)


class SsdVgg(Featurizer):
    """SSD-VGG 300 in float32: twelve tensors, class scores and boxes of six grids."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("ssd_vgg", quantized=False, **arguments)


class QuantizedSsdVgg(Featurizer):
    """SSD-VGG 300 in block floating point: twelve tensors, class scores and boxes of six grids."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__("ssd_vgg", quantized=True, **arguments)
