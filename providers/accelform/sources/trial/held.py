"""Large weights held once, outside the graphs that need them: a protocol buffer copies whatever is put into it."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper

LARGE = 16 * 1024
"""Elements from which on an array is held."""

PLAIN = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT8, TensorProto.UINT8)
"""Types that onnxruntime takes from NumPy; large arrays of others stay in the graph."""

LOCATION = "held"


class Held:
    """Arrays by number; in a graph their tensors are ONNX's external data, whose location tells the number."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []

    def light(self, graph: onnx.GraphProto) -> onnx.GraphProto:
        """A copy of `graph` whose large weights are held here; those that are held already stay so."""
        copy = onnx.GraphProto(name=graph.name)
        copy.node.extend(graph.node)
        copy.input.extend(graph.input)
        copy.output.extend(graph.output)
        copy.value_info.extend(graph.value_info)
        copy.initializer.extend(self.taken(tensor) for tensor in graph.initializer)
        return copy

    def light_model(self, model: onnx.ModelProto) -> onnx.ModelProto:
        """A copy of `model` whose large weights are held here."""
        copy = onnx.ModelProto(ir_version=model.ir_version)
        copy.opset_import.extend(model.opset_import)
        copy.functions.extend(model.functions)
        copy.graph.CopyFrom(self.light(model.graph))
        return copy

    def arrays(self, model: onnx.ModelProto) -> Mapping[str, NDArray[Any]]:
        """What of `model` is held here: name in its graph -> values."""
        found = {}
        for tensor in model.graph.initializer:
            if tensor.data_location == TensorProto.EXTERNAL:
                place = external_data_helper.ExternalDataInfo(tensor).location
                found[tensor.name] = self._arrays[int(place.removeprefix(LOCATION))]
        return found

    def taken(self, tensor: TensorProto) -> TensorProto:
        """The tensor itself if it is small or held already, else one that refers to its values here."""
        external = tensor.data_location == TensorProto.EXTERNAL
        if external or tensor.data_type not in PLAIN or prod(tensor.dims) < LARGE:
            return tensor
        left = stub(tensor)
        left.data_location = TensorProto.EXTERNAL
        left.external_data.add(key="location", value=f"{LOCATION}{len(self._arrays)}")
        self._arrays.append(np.ascontiguousarray(numpy_helper.to_array(tensor)))
        return left


def stub(tensor: TensorProto) -> TensorProto:
    """A large tensor without its values; a small one is itself."""
    if prod(tensor.dims) < LARGE:
        return tensor
    return TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
