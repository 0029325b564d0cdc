"""How much arithmetic a graph does: multiply-accumulates of one image, from shapes alone."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

Shapes = dict[str, tuple[int, ...]]

WEIGHED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose multiply-accumulates count; those of others are a few per value."""

SMALL = 128
"""Constants of up to so many elements may decide shapes; of larger ones only their own shape is looked at."""


def multiply_accumulates(graph: onnx.GraphProto, opset: int) -> int | None:
    """Of one image; None where a shape is not known. Calls onnx's shape inference, which has to trust the graph."""
    shapes = _shapes(graph, opset)
    found = 0
    for node in graph.node:
        if node.op_type not in WEIGHED:
            continue
        first, second = (shapes.get(name) for name in (*node.input[:2], "", "")[:2])
        given = shapes.get(node.output[0])
        if first is None or second is None or given is None:
            return None
        if node.op_type == "Conv":
            found += prod(given) * prod(second[1:])
        elif node.op_type == "ConvTranspose":
            found += prod(first) * prod(second[1:])
        else:
            turned = node.op_type == "Gemm" and any(entry.name == "transA" and entry.i for entry in node.attribute)
            found += prod(given) * (first[0] if turned else first[-1])
    return found


def fpga_share(fpga: int, whole: int | None) -> float | None:
    """Of all multiply-accumulates, those that the FPGA does; None where they are not known."""
    if whole is None:
        return None
    return round(fpga / max(whole, fpga, 1), 6)


def _shapes(graph: onnx.GraphProto, opset: int) -> Shapes:
    """Of every value; a first dimension that is open is one image."""
    import onnx

    light = onnx.GraphProto(name="shapes")
    light.node.extend(graph.node)
    light.output.extend(graph.output)
    light.value_info.extend(graph.value_info)
    constants = {tensor.name for tensor in graph.initializer}
    for value in graph.input:
        if value.name not in constants:
            copy = light.input.add()
            copy.CopyFrom(value)
            dims = copy.type.tensor_type.shape.dim
            if dims and dims[0].dim_value < 1:
                dims[0].dim_value = 1
    del light.value_info[:]
    for value in light.output:
        value.type.tensor_type.ClearField("shape")
    for tensor in graph.initializer:
        if prod(tensor.dims) <= SMALL:
            light.initializer.append(tensor)
        else:
            light.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    imports = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(light, opset_imports=imports, ir_version=10)
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception:  # whatever a library finds in a graph that it can't follow
        return {}
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*known.input, *known.value_info, *known.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            found[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return found
