"""A graph's ends as a service's clients see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def wire_outputs(lifter: Lifter) -> tuple[TensorInfo, ...]:
    """With the aliases that the SDK gave: one output has its own, several are counted.

    A tensor behind the FPGA's part that the file gives no shape for has [-1].
    """
    graph = lifter.graph
    single = len(graph.outputs) == 1
    found = []
    for index, name in enumerate(graph.outputs):
        typed, value = graph.types.get(name), lifter.values.get(name)
        element = int(TensorProto.FLOAT) if typed is None else typed.element
        if typed is not None and typed.dims is not None:
            dims = typed.dims
        elif isinstance(value, MapValue):
            dims = (-1, *value.shape[1:])
        else:
            dims = (-1,)
        alias = OUTPUT_ALIAS if single else f"out_{index}"
        found.append(TensorInfo(name=name, alias=alias, dtype=DTYPES.get(element, "DT_FLOAT"), shape=dims))
    return tuple(found)
