"""GraphDefs as data: looked up, cut at named tensors, emptied of what writes files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from .job import Refused, Tensor

WRITING = ("Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints")
MAX_NAMES_SHOWN = 12
LARGE_BYTES = 32 << 10


@dataclass(frozen=True)
class Weights:
    """An array that stays out of the graph: a placeholder stands for it. `values` gives it when it is written."""

    dtype: int
    shape: list[int]
    values: Callable[[], Any]


@dataclass(frozen=True)
class Loaded:
    """A frozen graph (no variables) with its ends.

    Attributes:
        arrays: weights by their placeholder's name
        names: tensor -> what it is called on the wire, where that is not its own name
    """

    graph_def: Any
    inputs: list[Tensor]
    outputs: list[Tensor]
    arrays: dict[str, Weights] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Naming:
    """How people call the ends of a graph.

    Attributes:
        aliases: tensor -> the signature's key
        spellings: other names -> tensor: signature keys, and the names that saved_model_cli shows
        listed: all of them in words, for whoever named one that is not there
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    spellings: Mapping[str, str] = field(default_factory=dict)
    listed: str = ""


def node_of(tensor: str) -> str:
    """`scope/op:0` or `^scope/op` -> `scope/op`."""
    return tensor.removeprefix("^").partition(":")[0]


def with_index(tensor: str) -> str:
    """`scope/op` -> `scope/op:0`."""
    return tensor if ":" in tensor else f"{tensor}:0"


def silence(graph_def: Any) -> int:
    """Turns operators that write files into ones that do nothing; returns how many. Loading needs none of them."""
    count = 0
    bodies = [graph_def.node, *(function.node_def for function in graph_def.library.function)]
    for nodes in bodies:
        for node in nodes:
            if node.op in WRITING:
                before = list(dict.fromkeys(f"^{node_of(name)}" for name in node.input))
                del node.input[:]
                node.attr.clear()
                node.op = "NoOp"
                # Arguments of a function are no nodes, and can't be waited for.
                known = {other.name for other in nodes}
                node.input.extend(name for name in before if name[1:] in known)
                count += 1
    return count


def ancestors(graph_def: Any, tensors: Iterable[str], *, stop: Iterable[str] = ()) -> set[str]:
    """Names of the nodes that the tensors need, themselves included; not looking beyond `stop`."""
    nodes = {node.name: node for node in graph_def.node}
    ends = set(stop)
    seen: set[str] = set()
    pending = deque(node_of(tensor) for tensor in tensors)
    while pending:
        name = pending.popleft()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        if name not in ends:
            pending.extend(node_of(source) for source in nodes[name].input)
    return seen


def descendants(graph_def: Any, start: str) -> set[str]:
    """Names of the nodes that the node feeds, itself included."""
    consumers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for source in node.input:
            consumers.setdefault(node_of(source), []).append(node.name)
    seen: set[str] = set()
    pending = [start]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending.extend(consumers.get(name, ()))
    return seen


@dataclass(frozen=True)
class Cut:
    """A part of a graph. `arrays`: its large constants by name, which are placeholders in `graph_def`."""

    graph_def: Any
    arrays: dict[str, Weights]


def cut(tf: Any, loaded: Loaded, inputs: Sequence[Tensor], outputs: Sequence[str]) -> Cut:
    """The part between the tensors: inputs become placeholders of their own names.

    Large constants stay behind: what is done to the graph later would copy them dozens of times.
    """
    graph_def = loaded.graph_def
    ends = {node_of(tensor.name): tensor for tensor in inputs}
    if late := [tensor.name for tensor in inputs if with_index(tensor.name).rpartition(":")[2] != "0"]:
        raise Refused("tensor", f"{late[0]} is not the first output of its operator, so the graph can't be cut there.")
    needed = ancestors(graph_def, outputs, stop=ends)
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(graph_def.versions)
    result.library.CopyFrom(graph_def.library)
    for name, tensor in ends.items():
        shape = [None if length < 0 else length for length in tensor.shape]
        _placeholder(tf, result, name, _types().DataType.Value(tensor.dtype), shape)
    arrays: dict[str, Weights] = {}
    for node in graph_def.node:
        if node.name not in needed or node.name in ends:
            continue
        if node.name in loaded.arrays:
            arrays[node.name] = loaded.arrays[node.name]
            result.node.add().CopyFrom(node)
            continue
        if node.op in ("Placeholder", "PlaceholderV2"):
            raise Refused(
                "tensor",
                f"{', '.join(outputs)} also need {node.name}:0, which is no input: name it as one, or other inputs "
                f"than {', '.join(tensor.name for tensor in inputs)}.",
            )
        value = node.attr["value"].tensor if node.op == "Const" else None
        if value is not None and len(value.tensor_content) >= LARGE_BYTES:
            arrays[node.name] = _constant(tf, value)
            _placeholder(tf, result, node.name, value.dtype, arrays[node.name].shape)
        elif node.op == "PlaceholderWithDefault":
            # A switch such as is_training: nobody will feed it, so its default is what it is.
            copy = result.node.add(name=node.name, op="Identity", input=node.input)
            copy.attr["T"].type = node.attr["dtype"].type
        else:
            result.node.add().CopyFrom(node)
    return Cut(result, arrays)


def _constant(tf: Any, value: Any) -> Weights:
    shape = [side.size for side in value.tensor_shape.dim]
    dtype = tf.as_dtype(value.dtype).as_numpy_dtype
    return Weights(value.dtype, shape, lambda: np.frombuffer(value.tensor_content, dtype).reshape(shape))


def _placeholder(tf: Any, graph_def: Any, name: str, dtype: int, shape: Sequence[int | None]) -> None:
    node = graph_def.node.add(name=name, op="Placeholder")
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())


def describe(
    graph: Any, inputs: Sequence[str], outputs: Sequence[str], naming: Naming
) -> tuple[list[Tensor], list[Tensor]]:
    """Inputs and outputs of a tf.Graph by name, in any of their spellings.

    Raises:
        Refused: some are not there; the message has all of them, and what there is.
    """
    missing: list[str] = []
    found: list[list[Tensor]] = []
    near: list[str] = []
    ends = [
        f"{operation.name}:0"
        for operation in graph.get_operations()
        if operation.outputs and not operation.name.startswith("save/")
    ]
    for what, names in (("input", inputs), ("output", outputs)):
        tensors = []
        for name in names:
            try:
                tensor = graph.get_tensor_by_name(naming.spellings.get(name) or with_index(name))
            except (KeyError, ValueError):
                missing.append(f"no {what} tensor {name}")
                stem = name.split("/")[-1].split(":")[0].lower()
                near += [end for end in ends if stem in end.lower()]
            else:
                tensors.append(described(tensor, naming.aliases.get(tensor.name, "")))
        found.append(tensors)
    if missing:
        alike = ", ".join(list(dict.fromkeys(near))[:MAX_NAMES_SHOWN])
        known = [naming.listed] if naming.listed else []
        if alike or not known:
            known.append(f"for example {alike or ', '.join(ends[-MAX_NAMES_SHOWN:])}")
        raise Refused("tensor", f"the graph has {' and '.join(missing)}; it has {'; '.join(known)}.")
    return found[0], found[1]


def described(tensor: Any, alias: str = "") -> Tensor:
    """A tf.Tensor (or a symbolic one) as data; an unknown rank is an empty shape with -1 only."""
    rank = tensor.shape.rank
    shape = [-1] if rank is None else [-1 if length is None else int(length) for length in tensor.shape.as_list()]
    return Tensor(tensor.name, alias, f"DT_{_type_name(tensor.dtype)}", shape)


def _type_name(dtype: Any) -> str:
    return str(_types().DataType.Name(dtype.as_datatype_enum)).removeprefix("DT_")


def _types() -> Any:
    return import_module("tensorflow.core.framework.types_pb2")
