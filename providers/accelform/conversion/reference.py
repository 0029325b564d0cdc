"""The featurizer in NumPy, driven by the layer plan alone: what every served graph has to reproduce."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelform.conversion.fold import FoldedConvolution
from accelform.featurizers.resnet_v1 import Convolution, ResNetPlan, Unit
from accelform_runtime.numerics import reference as ops
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats, quantise

FEATURES = "features"
POOL = "pool1"


class ReferenceForward:
    """Runs the featurizer on one image and keeps what every layer gave.

    Attributes:
        outputs: layer name -> float32 [height, width, channels]. A convolution's output is after bias, rounding
            and, where it has one, ReLU; a unit's (by the unit's name) after addition and ReLU; `features` is
            [channels].
        certificates: convolution name -> how many sums are proven independent of order; filled when `certify` is set.
    """

    def __init__(
        self, plan: ResNetPlan, layers: Mapping[str, FoldedConvolution], fmt: NumberFormat, *, certify: bool = False
    ) -> None:
        self._plan = plan
        self._layers = layers
        self._format = fmt
        self._certify = certify and fmt.quantised
        self.outputs: dict[str, Floats] = {}
        self.certificates: dict[str, ops.Certificate] = {}

    def run(self, image: Floats) -> Floats:
        """`image`: preprocessed float32 [size, size, 3]; returns the features, float32 [feature_length].

        Raises:
            NotFinite: the image or a layer's output is NaN or infinite.
        """
        maps = self._convolution(self._plan.stem, self._quantised(image))
        maps = self.outputs[POOL] = ops.max_pool_same(maps)
        for unit in self._plan.units:
            maps = self.outputs[unit.name] = self._unit(unit, maps)
        self.outputs[FEATURES] = ops.spatial_mean(maps, self._format)
        return self.outputs[FEATURES]

    def _unit(self, unit: Unit, maps: Floats) -> Floats:
        quantised = self._quantised(maps)
        if unit.shortcut is None:
            shortcut = ops.subsample(maps, unit.stride)
        else:
            shortcut = self._convolution(unit.shortcut, quantised)
        residual = self._convolution(unit.conv1, quantised)
        residual = self._convolution(unit.conv2, self._quantised(residual))
        residual = self._convolution(unit.conv3, self._quantised(residual))
        return ops.relu(ops.add(shortcut, residual, self._format))

    def _quantised(self, maps: Floats) -> Floats:
        return quantise(maps, fmt=self._format, axis=-1)

    def _convolution(self, conv: Convolution, quantised: Floats) -> Floats:
        layer = self._layers[conv.name]
        geometry = {"stride": conv.stride, "padding": conv.padding}
        total = ops.convolve(quantised, layer.weights, **geometry, fmt=self._format)
        if self._certify:
            self.certificates[conv.name] = ops.certify(quantised, layer.weights, **geometry, fmt=self._format)
        result = ops.pointwise(total + layer.bias, self._format)
        self.outputs[conv.name] = ops.relu(result) if conv.relu else result
        return self.outputs[conv.name]


def classify(features: Floats, weights: Floats, biases: Floats) -> Floats:
    """Class probabilities [classes] of features [length]: the float32 head that runs on the CPU."""
    logits = features @ weights.reshape(weights.shape[-2:]) + biases
    powers = np.exp(logits - logits.max())
    probabilities: Floats = (powers / powers.sum()).astype(np.float32)
    return probabilities
