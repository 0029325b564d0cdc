"""Runs a converted graph as it is served, layer by layer, against the NumPy definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

from accelform.conversion.converter import build, number_format_of
from accelform.conversion.model import BuiltModel
from accelform.conversion.split import SplitModel
from accelform_runtime.network.certificate import Certificate
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics.quantiser import Floats


@dataclass(frozen=True, kw_only=True)
class LayerComparison:
    """One layer: values whose bits differ, of how many, and the largest difference."""

    layer: str
    values: int
    different: int
    largest_difference: float


@dataclass(frozen=True, kw_only=True)
class Exactness:
    """A served graph against the definition, on one input.

    Attributes:
        layers: one per step of the network, and one per tensor that leaves it
        certificates: convolution -> sums proven independent of the order of addition; where all are, no CPU and no
            thread count can give other bits
    """

    layers: tuple[LayerComparison, ...]
    certificates: Mapping[str, Certificate]

    @property
    def different(self) -> tuple[LayerComparison, ...]:
        return tuple(layer for layer in self.layers if layer.different)

    @property
    def proven(self) -> bool:
        return all(certificate.complete for certificate in self.certificates.values())


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a served graph computed: the image that the network read [h, w, c], steps [h, w, c], tensors by name."""

    image: Floats
    steps: Mapping[str, Floats]
    tensors: Mapping[str, Floats]


def open_session(model: onnx.ModelProto, *, threads: int = 0) -> onnxruntime.InferenceSession:
    """A session with the optimisations a service runs with; `threads` 0 leaves the number to onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def served_layers(built: BuiltModel, split: SplitModel, value: Any, *, threads: int = 0) -> Layers:
    """Runs the graph on one value of the wire's input, batch dimension included (a decoded image: uint8 [1, h, w, 3]).

    Steps come from a graph in which every step is an output, which keeps onnxruntime from fusing across it; the
    network's tensors come from the graph as it is served.
    """
    tensors = [output.tensor for output in split.network.outputs]
    steps = _run(built.proto, [split.image_tensor, *built.layer_values.values()], value, threads)
    ends = _run(built.proto, tensors, value, threads)
    return Layers(
        image=steps[split.image_tensor][0],
        steps={step: steps[name][0].transpose(1, 2, 0) for step, name in built.layer_values.items()},
        tensors={tensor: ends[tensor][0] for tensor in tensors},
    )


def _run(proto: onnx.ModelProto, names: Sequence[str], value: Any, threads: int) -> dict[str, Any]:
    """Values of a graph by name; its input is one of those that may be asked for."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    (given,) = (item.name for item in model.graph.input)
    wanted = [name for name in dict.fromkeys(names) if name != given]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in wanted)
    results = open_session(model, threads=threads).run(wanted, {given: value})
    return dict(zip(wanted, results, strict=True)) | {given: value}


def check_exactness(
    split: SplitModel, value: Any, *, number_format: str, certify: bool = False, threads: int = 0
) -> Exactness:
    """Compares every layer's bits on one value of the wire's input, batch dimension included.

    Raises:
        UnknownNumberFormat: there is no such number format.
        InvalidWeights, UnsupportedModel: as `build`.
        NotFinite: a layer's output leaves the range of numbers.
    """
    fmt = number_format_of(number_format)
    built = build(split, name="exactness", fmt=fmt)
    served = served_layers(built, split, value, threads=threads)
    reference = Reference(split.network, built.parameters, fmt, certify=certify)
    tensors = reference.run(served.image)
    layers = [compare(step, served.steps[step], expected) for step, expected in reference.outputs.items()]
    layers += [compare(tensor, served.tensors[tensor], expected) for tensor, expected in tensors.items()]
    return Exactness(layers=tuple(layers), certificates=reference.certificates)


def compare(layer: str, served: Floats, expected: Floats) -> LayerComparison:
    """Bit for bit, so that -0 differs from +0.

    Raises:
        ValueError: they have different shapes.
    """
    left, right = np.ascontiguousarray(served), np.ascontiguousarray(expected)
    if left.shape != right.shape:
        raise ValueError(f"{layer}: {left.shape} was served, {right.shape} is expected")
    different = left.view(np.uint32) != right.view(np.uint32)
    return LayerComparison(
        layer=layer,
        values=left.size,
        different=int(different.sum()),
        largest_difference=float(np.abs(left - right).max()) if different.any() else 0.0,
    )
