"""Writes a network as ONNX: preprocessed image in, the network's tensors out, in a number format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accelform.conversion.block_floating_point import quantise_maps
from accelform.conversion.graph import DOUBLE, FLOAT, FLOAT16, GraphWriter
from accelform.conversion.packed_weights import packed_weights
from accelform_runtime.network.arithmetic import counts, pointwise
from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import Packed
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    Concat,
    Convolution,
    MaxPool,
    Mean,
    Normalise,
    Step,
    Window,
)
from accelform_runtime.numerics.format import NumberFormat
from accelform_runtime.numerics.quantiser import Floats


class NetworkWriter:
    """Writes each step on channels-first maps; `accelform_runtime.network.reference.Reference` gives the same bits.

    Attributes:
        layer_values: step name -> name of its value [1, channels, height, width], for looking inside; the steps are
            those of `Reference.outputs`
    """

    def __init__(self, writer: GraphWriter, network: Network, parameters: Packed, fmt: NumberFormat) -> None:
        """`parameters` are those that `pack_parameters` gave for `fmt`."""
        self._writer = writer
        self._network = network
        self._parameters = parameters
        self._format = fmt
        self._quantised: dict[str, str] = {}
        self.layer_values: dict[str, str] = {}

    def write(self, image: str) -> None:
        """`image` float32 [1, height, width, channels] -> the network's tensors by name, float32 [1, *shape]."""
        writer = self._writer
        writer.scope = self._network.name
        values = {IMAGE: writer.op("Transpose", image, perm=[0, 3, 1, 2])}
        for step in self._network.steps:
            writer.scope = step.name
            values[step.name] = self._step(step, [values[source] for source in step.sources])
        self.layer_values = {step.name: values[step.name] for step in self._network.steps}
        for output in self._network.outputs:
            writer.scope = output.value
            maps, value = self._network.maps[output.value], values[output.value]
            if maps.height * maps.width > 1:
                value = writer.op("Transpose", value, perm=[0, 2, 3, 1])
            writer.op("Reshape", value, writer.integers(1, *output.shape), name=output.tensor)

    def _step(self, step: Step, sources: Sequence[str]) -> str:
        maps = sources[0]
        if isinstance(step, Convolution):
            return self._convolution(step, maps)
        if isinstance(step, MaxPool):
            return self._max_pool(step, maps)
        if isinstance(step, AveragePool):
            return self._average_pool(step, maps)
        if isinstance(step, Mean):
            return self._mean(step, maps)
        if isinstance(step, Add):
            return self._finished(self._add(maps, sources[1]), step.relu)
        if isinstance(step, Concat):
            return self._writer.op("Concat", *sources, axis=1)
        if isinstance(step, Normalise):
            return self._normalise(step, maps)
        return self._affine(step, maps)

    def _convolution(self, conv: Convolution, maps: str) -> str:
        writer, arrays = self._writer, self._parameters.steps[conv.name]
        if conv.source not in self._quantised:
            self._quantised[conv.source] = quantise_maps(
                writer,
                maps,
                channels=conv.in_channels,
                fmt=self._format,
                non_negative=conv.source in self._network.non_negative,
                name=f"{conv.source}/quantised",
            )
        writer.scope = conv.name
        result = writer.op(
            "Conv",
            self._quantised[conv.source],
            packed_weights(writer, self._parameters, conv.name, name=f"{conv.name}/weights"),
            writer.constant(arrays.bias, name=f"{conv.name}/biases"),
            **_walk(conv.window),
        )
        return self._finished(result, conv.relu)

    def _max_pool(self, pool: MaxPool, maps: str) -> str:
        writer = self._writer
        result = writer.op("MaxPool", maps, **_walk(pool.window))
        if pool.source in self._network.non_negative:
            return result
        # Which zero is the larger one is nobody's promise.
        zero = writer.constant(np.float32(0))
        return writer.op("Where", writer.op("Equal", result, zero), zero, result)

    def _average_pool(self, pool: AveragePool, maps: str) -> str:
        """The sum in float64, tap by tap, where sums of float16 values are exact."""
        writer, window = self._writer, pool.window
        source, out = self._network.maps[pool.source], self._network.maps[pool.name]
        wide = writer.op("Cast", maps, to=DOUBLE)
        if any(window.padding):
            top, left, bottom, right = window.padding
            wide = writer.op("Pad", wide, writer.integers(0, 0, top, left, 0, 0, bottom, right))
        total = ""
        for tap in np.ndindex(*window.kernel):
            first = [place * apart for place, apart in zip(tap, window.dilation, strict=True)]
            last = [
                start + step * (side - 1) + 1
                for start, step, side in zip(first, window.stride, (out.height, out.width), strict=True)
            ]
            axes, steps = writer.integers(2, 3), writer.integers(*window.stride)
            values = writer.op("Slice", wide, writer.integers(*first), writer.integers(*last), axes, steps)
            total = writer.op("Add", total, values) if total else values
        divisors = counts(window, source.height, source.width)[..., 0]
        even = divisors.min() == divisors.max()
        mean = writer.op("Div", total, writer.constant(divisors.max() if even else divisors))
        return self._narrowed(mean)

    def _mean(self, mean: Mean, maps: str) -> str:
        writer, source = self._writer, self._network.maps[mean.source]
        total = writer.op("ReduceSum", writer.op("Cast", maps, to=DOUBLE), writer.integers(2, 3))
        return self._narrowed(writer.op("Div", total, writer.constant(np.float64(source.height * source.width))))

    def _normalise(self, step: Normalise, maps: str) -> str:
        writer = self._writer
        wide = writer.op("Cast", maps, to=DOUBLE)
        squares = writer.op("ReduceSum", writer.op("Mul", wide, wide), writer.integers(1))
        length = writer.op("Sqrt", writer.op("Max", squares, writer.constant(np.float64(step.epsilon))))
        scale = _per_channel(self._parameters.steps[step.name].scale).astype(np.float64)
        factors = writer.constant(scale, name=f"{step.name}/scale")
        return self._narrowed(writer.op("Mul", writer.op("Div", wide, length), factors))

    def _affine(self, step: Affine, maps: str) -> str:
        writer, arrays = self._writer, self._parameters.steps[step.name]
        scale, bias = (
            writer.constant(pointwise(_per_channel(array), self._format), name=f"{step.name}/{part}")
            for part, array in (("scale", arrays.scale), ("bias", arrays.bias))
        )
        return self._finished(writer.op("Add", self._rounded(writer.op("Mul", maps, scale)), bias), step.relu)

    def _add(self, left: str, right: str) -> str:
        if self._format.quantised and self._format.pointwise == "float32":
            # onnxruntime starts a convolution from the other summand where it finds an Add behind it, which rounds
            # otherwise; it knows no such trick for a Sub.
            return self._writer.op("Sub", left, self._writer.op("Neg", right))
        return self._writer.op("Add", left, right)

    def _finished(self, value: str, relu: bool) -> str:
        # ReLU first: rounding keeps order and zero, and this way no -0 appears.
        return self._rounded(self._writer.op("Relu", value) if relu else value)

    def _narrowed(self, value: str) -> str:
        return self._rounded(self._writer.op("Cast", value, to=FLOAT))

    def _rounded(self, value: str) -> str:
        if self._format.pointwise == "float32":
            return value
        return self._writer.op("Cast", self._writer.op("Cast", value, to=FLOAT16), to=FLOAT)


def _walk(window: Window) -> dict[str, Any]:
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.stride),
        "pads": list(window.padding),
        "dilations": list(window.dilation),
    }


def _per_channel(array: Floats | None) -> Floats:
    assert array is not None
    return array.reshape(1, -1, 1, 1)
