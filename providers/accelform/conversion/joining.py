"""Puts a graph that came with a model before or behind the network that the converter writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import onnx
from onnx import checker, helper, version_converter

from accelform.conversion.graph import IR_VERSION, OPSET
from accelform.errors import UnsupportedModel


def as_model(graph: onnx.GraphProto, opset: int, *, what: str) -> onnx.ModelProto:
    """The graph as a model of the converter's opset; `what` names it in a message.

    Raises:
        UnsupportedModel: an operator has no equivalent in that opset.
    """
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(domain, 1) for domain in sorted(_domains(graph.node))]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION, producer_name="accelform")
    if opset == OPSET:
        return model
    try:
        model = version_converter.convert_version(model, OPSET)
        # The version converter passes operators on that it has no newer form for.
        checker.check_model(model)
        return model
    except Exception as error:
        raise UnsupportedModel(
            f"{what} is in ONNX opset {opset} and can't be brought to opset {OPSET}: {_last_line(error)}. "
            f"Export the model with opset {OPSET}."
        ) from error


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
