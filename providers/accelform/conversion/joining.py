"""Puts a graph that came with a model before or behind the network that the converter writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from math import prod

import onnx
from onnx import checker, helper, version_converter

from accelform.conversion.graph import IR_VERSION, OPSET
from accelform.errors import UnsupportedModel

SMALL = 1024
"""Constants of up to so many elements may be shapes, axes and the like, which the version converter reads."""


def as_model(graph: onnx.GraphProto, opset: int, *, what: str) -> onnx.ModelProto:
    """The graph as a model of the converter's opset; `what` names it in a message.

    Raises:
        UnsupportedModel: an operator has no equivalent in that opset.
    """
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1) for domain in sorted(_domains(graph.node))]
    same = opset == OPSET
    brought = graph if same else _without_large(graph)
    model = helper.make_model(brought, opset_imports=imports, ir_version=IR_VERSION, producer_name="accelform")
    if same:
        return model
    try:
        model = version_converter.convert_version(model, OPSET)
        # The version converter passes operators on that it has no newer form for.
        checker.check_model(model)
    except Exception as error:
        raise UnsupportedModel(
            f"{what} is in ONNX opset {opset} and can't be brought to opset {OPSET}: {_last_line(error)}. "
            f"Export the model with opset {OPSET}."
        ) from error
    _put_large_back(model.graph, graph)
    return model


def _without_large(graph: onnx.GraphProto) -> onnx.GraphProto:
    """A copy with inputs instead of large constants, which the version converter would copy several times."""
    copy = onnx.GraphProto(name=graph.name)
    copy.node.extend(graph.node)
    copy.input.extend(graph.input)
    copy.output.extend(graph.output)
    copy.value_info.extend(graph.value_info)
    given = {value.name for value in graph.input}
    for tensor in graph.initializer:
        if prod(tensor.dims) <= SMALL:
            copy.initializer.append(tensor)
        elif tensor.name not in given:
            copy.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return copy


def _put_large_back(converted: onnx.GraphProto, graph: onnx.GraphProto) -> None:
    """Constants again, in the order of `graph`; what the version converter added comes last."""
    given = {value.name for value in graph.input}
    inputs = [value for value in converted.input if value.name in given]
    small = {tensor.name: tensor for tensor in converted.initializer}
    constants = [
        small.pop(tensor.name, tensor)
        for tensor in graph.initializer
        if tensor.name in small or prod(tensor.dims) > SMALL
    ]
    constants += small.values()
    del converted.input[:], converted.initializer[:]
    converted.input.extend(inputs)
    converted.initializer.extend(constants)


def inner_names(graph: onnx.GraphProto) -> set[str]:
    """Of constants and values that are neither inputs nor outputs."""
    names = {tensor.name for tensor in graph.initializer}
    names |= {name for node in graph.node for name in node.output}
    return names - {""} - ends(graph)


def ends(graph: onnx.GraphProto) -> set[str]:
    """The names that other parts and the wire know: inputs, but for those with a default, and outputs."""
    constants = {tensor.name for tensor in graph.initializer}
    return {value.name for value in graph.input if value.name not in constants} | {value.name for value in graph.output}


def renamed(graph: onnx.GraphProto, names: Collection[str], *, prefix: str) -> onnx.GraphProto:
    """A copy in which those of its names are `<prefix>/...`."""
    new = {name: f"{prefix}/{name}" for name in names}
    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    for values in (copy.initializer, copy.input, copy.output):
        for value in values:
            value.name = new.get(value.name, value.name)
    del copy.value_info[:]
    _rename_nodes(copy.node, new)
    return copy


def _rename_nodes(nodes: Iterable[onnx.NodeProto], new: dict[str, str]) -> None:
    for node in nodes:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
        for body in _bodies(node):
            # Names that a body defines itself are not in `new`: ONNX lets none hide an outer one.
            for value in body.output:
                value.name = new.get(value.name, value.name)
            _rename_nodes(body.node, new)


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _domains(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    found = set()
    for node in nodes:
        found |= {node.domain} - {"", "ai.onnx"}
        for body in _bodies(node):
            found |= _domains(body.node)
    return found


def _last_line(error: Exception) -> str:
    return str(error).strip().rpartition("\n")[2]
