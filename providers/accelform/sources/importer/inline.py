"""A function's graph without calls of other functions: their bodies stand in their place.

TensorFlow's own inlining goes through its optimiser, which copies the graph with all its weights several times, and
leaves out functions that are marked for XLA, such as Keras's grouped convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
MAX_DEPTH = 64
MAX_NODES = 200_000


def inlined(tf: Any, graph_def: Any) -> tuple[Any, dict[str, str]] | None:
    """The graph with the bodies of called functions in it, and what became of the calls' outputs: tensor -> tensor.

    Order among operators (control inputs) is left out. None: a function is written in a way that is not known here.
    """
    functions = {function.signature.name: function for function in graph_def.library.function}
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(graph_def.versions)
    result.library.CopyFrom(graph_def.library)
    moved: dict[str, str] = {}
    pending = [(node.name, _copied(node, list(node.input), node.name), 0) for node in graph_def.node]
    while pending:
        name, node, depth = pending.pop()
        body = functions.get(node.attr["f"].func.name if node.op in CALLS else node.op)
        if body is None:
            if node.op in CALLS or len(result.node) > MAX_NODES:
                return None
            result.node.append(node)
            continue
        inside = _inside(body, name, list(node.input))
        if inside is None or depth > MAX_DEPTH:
            return None
        nodes, outputs = inside
        pending += [(inner.name, inner, depth + 1) for inner in nodes]
        moved |= {f"{name}:{index}": tensor for index, tensor in enumerate(outputs)}
    if not any(_calls(node) for node in result.node):
        result.ClearField("library")
    for node in result.node:
        inputs = [followed(moved, source) for source in node.input]
        del node.input[:]
        node.input.extend(inputs)
    return result, moved


def _calls(node: Any) -> bool:
    return any(value.HasField("func") or value.list.func for value in node.attr.values())


def followed(moved: Mapping[str, str], tensor: str) -> str:
    """Where a tensor's value is now; `a:0` and `a` are the same."""
    for _ in range(MAX_DEPTH + 1):
        whole = tensor if ":" in tensor else f"{tensor}:0"
        if whole not in moved:
            break
        tensor = moved[whole]
    return tensor


def _copied(node: Any, inputs: list[str], name: str) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name = name
    del copy.input[:]
    copy.input.extend(source for source in inputs if not source.startswith("^"))
    for key in ("_class", "_XlaMustCompile"):
        copy.attr.pop(key, None)
    return copy


def _inside(function: Any, call: str, arguments: list[str]) -> tuple[list[Any], list[str]] | None:
    """The function's nodes below the call's name, reading the call's arguments, and its outputs in order."""
    given = [argument for argument in arguments if not argument.startswith("^")]
    known = dict(zip((argument.name for argument in function.signature.input_arg), given, strict=False))
    if len(known) != len(function.signature.input_arg):
        return None
    for node in function.node_def:
        positions = _outputs(node)
        if positions is None or any(value.placeholder for value in node.attr.values()):
            return None
        known |= {f"{node.name}:{place}": f"{call}/{node.name}:{index}" for index, place in enumerate(positions)}
    try:
        nodes = [
            _copied(node, [known[source] for source in node.input if not source.startswith("^")], f"{call}/{node.name}")
            for node in function.node_def
        ]
        return nodes, [known[function.ret[output.name]] for output in function.signature.output_arg]
    except KeyError:
        return None


def _outputs(node: Any) -> list[str] | None:
    """`output:0`, … of every output, as a function's nodes name them."""
    registry: Any = import_module("tensorflow.python.framework.op_def_registry")
    definition = registry.get(node.op)
    if definition is None:
        return None
    places = []
    for output in definition.output_arg:
        count = 1
        if output.number_attr:
            count = node.attr[output.number_attr].i
        elif output.type_list_attr:
            count = len(node.attr[output.type_list_attr].list.type)
        places += [f"{output.name}:{index}" for index in range(count)]
    return places
