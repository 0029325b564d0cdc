"""A graph's ends as a service's clients see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto

from accelform.conversion.split import TensorInfo
from accelform.errors import UnsupportedModel
from accelform.topology.graph import Graph
from accelform.topology.lifter import Lifter
from accelform.topology.values import MapValue

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "DT_FLOAT",
    TensorProto.DOUBLE: "DT_DOUBLE",
    TensorProto.FLOAT16: "DT_HALF",
    TensorProto.BFLOAT16: "DT_BFLOAT16",
    TensorProto.INT8: "DT_INT8",
    TensorProto.INT16: "DT_INT16",
    TensorProto.INT32: "DT_INT32",
    TensorProto.INT64: "DT_INT64",
    TensorProto.UINT8: "DT_UINT8",
    TensorProto.UINT16: "DT_UINT16",
    TensorProto.UINT32: "DT_UINT32",
    TensorProto.UINT64: "DT_UINT64",
    TensorProto.BOOL: "DT_BOOL",
    TensorProto.STRING: "DT_STRING",
}

INPUT_ALIAS = "images"
OUTPUT_ALIAS = "output_alias"
MAX_INFERRED_BYTES = 2**27


def wire_inputs(graph: Graph, names: Sequence[str]) -> tuple[TensorInfo, ...]:
    """Raises: UnsupportedModel: an input of unknown type."""
    found = []
    for name in names:
        typed = graph.types.get(name)
        if typed is None or typed.element not in DTYPES or typed.dims is None:
            raise UnsupportedModel(
                f"the type or shape of the input {name} is not in the model: name an input that the graph declares, or "
                f"export the model with shapes"
            )
        found.append(TensorInfo(name=name, alias=INPUT_ALIAS, dtype=DTYPES[typed.element], shape=typed.dims))
    return tuple(found)


def wire_outputs(lifter: Lifter, head: onnx.GraphProto | None) -> tuple[TensorInfo, ...]:
    """With the aliases that the SDK gave: one output has its own, several are counted."""
    graph = lifter.graph
    single = len(graph.outputs) == 1
    inferred: Mapping[str, tuple[int, tuple[int, ...]]] | None = None
    found = []
    for index, name in enumerate(graph.outputs):
        typed, value = graph.types.get(name), lifter.values.get(name)
        element = int(TensorProto.FLOAT) if typed is None else typed.element
        if typed is not None and typed.dims is not None:
            dims = typed.dims
        elif isinstance(value, MapValue):
            dims = (-1, *value.shape[1:])
        else:
            if inferred is None:
                inferred = _inferred(head, graph.opset)
            element, dims = inferred.get(name, (element, (-1,)))
        alias = OUTPUT_ALIAS if single else f"out_{index}"
        found.append(TensorInfo(name=name, alias=alias, dtype=DTYPES.get(element, "DT_FLOAT"), shape=dims))
    return tuple(found)


def _inferred(head: onnx.GraphProto | None, opset: int) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Types and shapes of outputs that the file does not tell; the batch is of any length again."""
    if head is None or head.ByteSize() > MAX_INFERRED_BYTES:
        return {}
    model = onnx.helper.make_model(head, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        shaped = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):
        return {}
    found = {}
    for value in shaped.output:
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            dims = tuple(dim.dim_value or -1 for dim in tensor.shape.dim)
            found[value.name] = (int(tensor.elem_type), (-1, *dims[1:]))
    return found
