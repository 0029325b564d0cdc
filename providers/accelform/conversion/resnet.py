"""Writes a ResNet featurizer: preprocessed image in, feature vector out, in a number format."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from accelform.conversion.block_floating_point import quantise_maps
from accelform.conversion.fold import FoldedConvolution
from accelform.conversion.graph import DOUBLE, FLOAT, FLOAT16, GraphWriter
from accelform.featurizers.resnet_v1 import Convolution, ResNetPlan, Unit
from accelform_runtime.numerics.format import NumberFormat


class ResNetWriter:
    """Writes the plan's convolutions on channels-first maps.

    Attributes:
        layer_values: layer name -> name of its value [1, channels, height, width], for looking inside; the layers
            are those of `ReferenceForward.outputs`.
    """

    def __init__(
        self, writer: GraphWriter, plan: ResNetPlan, layers: Mapping[str, FoldedConvolution], fmt: NumberFormat
    ) -> None:
        self._writer = writer
        self._plan = plan
        self._layers = layers
        self._format = fmt
        self.layer_values: dict[str, str] = {}

    def write(self, image: str, *, name: str) -> str:
        """`image` float32 [1, size, size, 3] -> `name` float32 [1, 1, 1, feature_length]."""
        writer, plan = self._writer, self._plan
        writer.scope = plan.scope
        maps = writer.op("Transpose", image, perm=[0, 3, 1, 2])
        maps = self._convolution(plan.stem, self._quantised(maps, plan.stem, non_negative=False))
        writer.scope = plan.scope
        # A maximum of values of the point-wise type is of that type.
        maps = writer.op("MaxPool", maps, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
        self.layer_values["pool1"] = maps
        for unit in plan.units:
            maps = self.layer_values[unit.name] = self._unit(unit, maps)
        return self._mean(maps, name)

    def _unit(self, unit: Unit, maps: str) -> str:
        writer = self._writer
        quantised = self._quantised(maps, unit.conv1)
        if unit.shortcut is not None:
            shortcut = self._convolution(unit.shortcut, quantised)
        elif unit.stride == 1:
            shortcut = maps
        else:
            writer.scope = f"{unit.name}/shortcut"
            shortcut = writer.op("MaxPool", maps, kernel_shape=[1, 1], strides=[unit.stride, unit.stride])
        residual = self._convolution(unit.conv1, quantised)
        residual = self._convolution(unit.conv2, self._quantised(residual, unit.conv2))
        residual = self._convolution(unit.conv3, self._quantised(residual, unit.conv3))
        writer.scope = unit.name
        # ReLU first: rounding keeps order and zero, and this way no -0 appears.
        return self._rounded(writer.op("Relu", writer.op("Add", shortcut, residual)))

    def _quantised(self, maps: str, consumer: Convolution, *, non_negative: bool = True) -> str:
        return quantise_maps(
            self._writer,
            maps,
            channels=consumer.in_channels,
            fmt=self._format,
            non_negative=non_negative,
            name=f"{consumer.name}/quantised",
        )

    def _convolution(self, conv: Convolution, quantised: str) -> str:
        writer, layer = self._writer, self._layers[conv.name]
        writer.scope = conv.name
        result = writer.op(
            "Conv",
            quantised,
            writer.constant(np.ascontiguousarray(layer.weights.transpose(3, 2, 0, 1)), name=f"{conv.name}/weights"),
            writer.constant(layer.bias, name=f"{conv.name}/biases"),
            kernel_shape=[conv.kernel, conv.kernel],
            strides=[conv.stride, conv.stride],
            pads=[conv.padding] * 4,
        )
        result = self._rounded(writer.op("Relu", result) if conv.relu else result)
        self.layer_values[conv.name] = result
        return result

    def _rounded(self, value: str) -> str:
        if self._format.pointwise == "float32":
            return value
        return self._writer.op("Cast", self._writer.op("Cast", value, to=FLOAT16), to=FLOAT)

    def _mean(self, maps: str, name: str) -> str:
        """The mean in float64, where sums of float16 values are exact in any order."""
        writer = self._writer
        writer.scope = f"{self._plan.scope}/pool5"
        total = writer.op("ReduceSum", writer.op("Cast", maps, to=DOUBLE), writer.constant(np.array([2, 3], np.int64)))
        mean = writer.op("Div", total, writer.constant(np.float64(self._plan.feature_size**2)))
        mean = self._rounded(writer.op("Cast", mean, to=FLOAT))
        features = writer.op("Reshape", mean, writer.constant(np.array([1, 1, 1, -1], np.int64)), name=name)
        self.layer_values["features"] = features
        return features
