"""An ONNX graph as this package reads it: checked, bounded, and only the nodes that lead from inputs to outputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import onnx
from onnx import AttributeProto, TensorProto

from accelform.errors import NotAModel, UnknownTensor, UnsupportedModel

OPSETS = (11, 26)
"""The opsets whose operators are understood, first and last."""

MAX_NODES = 100_000
MAX_TENSORS = 200_000
MAX_RANK = 8
MAX_ENDS = 256
MAX_ELEMENTS = 2**31
MAX_NAMES_IN_MESSAGE = 12
MAX_NAME = 1000
"""Characters of a name: longer ones fit neither pages nor messages, and from 65,536 bytes on no archive."""

QUANTISED = ("QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger")
"""Operators that round what a network computes to integers; others of the kind begin with QLinear."""

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
SUBGRAPH = object()
"""What an attribute that holds a graph reads as."""


@dataclass(frozen=True, kw_only=True)
class TypedShape:
    """What the file says of a value: ONNX element type, and its dimensions (-1: any) or None."""

    element: int
    dims: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator; `label` is what messages call it."""

    op: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    proto: onnx.NodeProto

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        return {attribute.name: _attribute(attribute) for attribute in self.proto.attribute}

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def input(self, index: int) -> str:
        """The name of an optional input, empty if it is not there."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes in execution order, each leading to one of `outputs`."""

    name: str
    opset: int
    nodes: tuple[Node, ...]
    initializers: Mapping[str, TensorProto]
    types: Mapping[str, TypedShape]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        return {value: node for node in self.nodes for value in node.outputs if value}


def read_graph(
    model: onnx.ModelProto, *, input_tensors: Sequence[str] | None = None, output_tensors: Sequence[str] | None = None
) -> Graph:
    """The part of `model` between the named tensors (all inputs and outputs of the graph if none are named).

    Inputs that nothing reads are left out, unless they were named.

    Raises:
        NotAModel: not a graph, or one whose nodes don't fit each other
        UnsupportedModel: an opset, a size or an element that is not supported
        UnknownTensor: a named tensor does not exist
    """
    graph, opset = model.graph, _opset(model)
    _check_sizes(model)
    _check_unique(graph)
    nodes = [_node(proto, index) for index, proto in enumerate(graph.node)]
    _check_names_fit(nodes)
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    declared = [value.name for value in graph.input if value.name not in initializers]
    _check_order(nodes, {*initializers, *declared})
    produced = {value for node in nodes for value in node.outputs if value}

    outputs = tuple(output_tensors) if output_tensors else tuple(value.name for value in graph.output)
    if not outputs:
        raise NotAModel("the ONNX graph has no outputs: name the tensors to serve in output_tensors")
    inputs = tuple(input_tensors) if input_tensors else tuple(declared)
    problems = [
        *_name_problems("output", outputs, known=produced, offered=[value.name for value in graph.output]),
        *_name_problems("input", inputs, known={*produced, *declared}, offered=declared),
    ]
    if problems:
        raise UnknownTensor("; ".join(problems))

    if max(len(inputs), len(outputs)) > MAX_ENDS:
        raise UnsupportedModel(
            f"the network has {len(inputs):,} inputs and {len(outputs):,} outputs; at most {MAX_ENDS} of each are "
            f"served"
        )
    kept, read = _between(nodes, set(inputs), outputs)
    if unnamed := [name for name in declared if name in read and name not in inputs]:
        raise UnknownTensor(
            f"the outputs also depend on the input {_listed(unnamed)}, which input_tensors does not name: name it too,"
            f" or cut the network where it no longer matters"
        )
    used = tuple(name for name in inputs if name in read or name in outputs)
    _check_quantised(kept)
    _check_supported(kept)
    _check_inference(kept, initializers)
    return Graph(
        name=graph.name,
        opset=opset,
        nodes=tuple(kept),
        initializers=initializers,
        types=_types(graph),
        inputs=inputs if input_tensors else used,
        outputs=outputs,
    )


def foreign_types(graph: Graph) -> str:
    """The floating-point types of weights that are not float32; empty if all are."""
    found = {tensor.data_type for tensor in graph.initializers.values() if len(tensor.dims) > 1}
    names = {TensorProto.FLOAT16: "float16", TensorProto.DOUBLE: "float64", TensorProto.BFLOAT16: "bfloat16"}
    return " and ".join(name for kind, name in names.items() if kind in found)


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if len(set(versions)) > 1:
        raise NotAModel(f"the ONNX model names two opsets, {', '.join(map(str, versions))}; export the model again")
    if not versions or not model.graph.node:
        raise NotAModel("this is not an ONNX network: it has no operator set or no nodes; export the model again")
    if not OPSETS[0] <= versions[0] <= OPSETS[1]:
        raise UnsupportedModel(
            f"the ONNX model uses opset {versions[0]}; supported are {OPSETS[0]} to {OPSETS[1]}: export it again with "
            f"an opset between them, or convert it with onnx.version_converter"
        )
    if model.functions:
        raise UnsupportedModel(
            f"the ONNX model defines functions of its own ({_listed([entry.name for entry in model.functions])}): "
            f"replace them by their bodies with onnx.inliner.inline_local_functions, or export without them"
        )
    return int(versions[0])


def _check_sizes(model: onnx.ModelProto) -> None:
    graph = model.graph
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_TENSORS:
        raise UnsupportedModel(
            f"the ONNX graph has {len(graph.node):,} nodes and {len(graph.initializer):,} tensors; at most "
            f"{MAX_NODES:,} and {MAX_TENSORS:,} are read"
        )
    if graph.sparse_initializer:
        raise UnsupportedModel("the ONNX graph has sparse weights: store them dense")
    for tensor in graph.initializer:
        check_tensor_size(tensor.name, tuple(tensor.dims))


def _check_unique(graph: onnx.GraphProto) -> None:
    """One name means one thing: which of two onnxruntime takes, another reader need not take."""
    kinds = {
        "weights": [tensor.name for tensor in graph.initializer],
        "input": [value.name for value in graph.input],
        "output": [value.name for value in graph.output],
    }
    for kind, names in kinds.items():
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise NotAModel(
                f"the ONNX graph has {kind} twice under one name ({_listed(twice)}), and which of the two counts is "
                "anybody's guess; export the model again"
            )
    for node in graph.node:
        settings = [attribute.name for attribute in node.attribute]
        if len(set(settings)) != len(settings):
            raise NotAModel(f"the ONNX node {_node(node, 0).label[:120]} has one setting twice; export the model again")


def check_tensor_size(name: str, dims: tuple[int, ...]) -> None:
    """Raises: UnsupportedModel: more dimensions or elements than any network of ours could have."""
    if len(dims) > MAX_RANK or any(dim < 0 for dim in dims) or prod(dims) > MAX_ELEMENTS:
        raise UnsupportedModel(
            f"the tensor {name} has shape {list(dims[:12])}: at most {MAX_RANK} dimensions and {MAX_ELEMENTS:,} "
            f"elements are read"
        )


def _check_order(nodes: Sequence[Node], known: Iterable[str]) -> None:
    seen = {"", *known}
    for node in nodes:
        if missing := [value for value in node.inputs if value not in seen]:
            raise NotAModel(
                f"the ONNX node {node.label} reads {missing[0]}, which no node before it gives: the file is damaged, "
                f"or its nodes are not in execution order; export the model again"
            )
        if twice := [value for value in node.outputs if value and value in seen]:
            raise NotAModel(f"the ONNX value {twice[0]} is given twice (by {node.label}): export the model again")
        seen.update(node.outputs)


def _check_names_fit(nodes: Sequence[Node]) -> None:
    """Names become layers' names in archives, pages and messages."""
    for node in nodes:
        for name in (node.label, *node.inputs, *node.outputs):
            if len(name) > MAX_NAME:
                raise UnsupportedModel(
                    f"the ONNX graph has the name {name[:60]!r}… of {len(name):,} characters; at most {MAX_NAME:,} are "
                    "read: rename it"
                )


def _name_problems(role: str, names: Sequence[str], *, known: Iterable[str], offered: Sequence[str]) -> list[str]:
    problems, known = [], set(known)
    if missing := [name for name in names if name not in known]:
        there = f"the graph's {role}s are {_listed(offered)}" if offered else f"the graph declares no {role}s"
        problems.append(f"the model has no {role} tensor {_listed(missing)}: {there}; any tensor inside may be named")
    if len(set(names)) != len(names):
        problems.append(f"the {role} tensors {_listed(names)} name one twice")
    return problems


def _between(nodes: Sequence[Node], inputs: set[str], outputs: Sequence[str]) -> tuple[list[Node], set[str]]:
    """The nodes that `outputs` need when `inputs` are given, and every value that they read."""
    wanted = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if any(value in wanted and value not in inputs for value in node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1], wanted


def _check_supported(nodes: Sequence[Node]) -> None:
    if foreign := sorted(
        {f"{node.proto.domain}.{node.op}" for node in nodes if node.proto.domain not in ("", "ai.onnx")}
    ):
        raise UnsupportedModel(
            f"the network uses operators outside standard ONNX ({_listed(foreign)}): they would need a library that is "
            f"not part of the served image; export it with standard operators only"
        )
    if nested := [node for node in nodes if SUBGRAPH in node.attributes.values()]:
        raise UnsupportedModel(
            f"the node {nested[0].label} ({nested[0].op}) runs a graph of its own: branches and loops can be served "
            f"neither by the FPGA nor beside it; export the network with them unrolled or removed"
        )


def _check_quantised(nodes: Sequence[Node]) -> None:
    """Raises: UnsupportedModel: a network whose values, not only its weights, are quantised."""
    found = [node for node in nodes if node.op in QUANTISED or node.op.startswith("QLinear")]
    if found:
        counted = ", ".join(f"{count} {op}" for op, count in Counter(node.op for node in found).most_common(4))
        raise UnsupportedModel(
            f"the network is quantised: it rounds what it computes to integers ({counted}; first in {found[0].label}). "
            "The FPGA computes in a number format of its own, so bring the float32 model from before the quantisation; "
            "weights alone may be stored as integers with DequantizeLinear"
        )


def _check_inference(nodes: Sequence[Node], initializers: Mapping[str, TensorProto]) -> None:
    """Raises: UnsupportedModel: operators that compute otherwise in training than in service."""
    for node in nodes:
        training = bool(node.attribute("training_mode", 0)) if node.op == "BatchNormalization" else False
        if node.op == "Dropout" and (switch := initializers.get(node.input(2))) is not None:
            training = any((*switch.int32_data, *switch.raw_data))
        if training:
            raise UnsupportedModel(
                f"the node {node.label} ({node.op}) runs in training mode: its answers depend on the other images of a "
                "batch, or on chance; export the network for inference (PyTorch: model.eval() before the export)"
            )


def _types(graph: onnx.GraphProto) -> dict[str, TypedShape]:
    found: dict[str, TypedShape] = {}
    for value in (*graph.value_info, *graph.output, *graph.input):
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        tensor = value.type.tensor_type
        dims = None
        if tensor.HasField("shape"):
            dims = tuple(_dimension(dim) for dim in tensor.shape.dim)
            if len(dims) > MAX_RANK:
                raise UnsupportedModel(
                    f"the tensor {value.name} has {len(dims)} dimensions; at most {MAX_RANK} are read"
                )
            if 0 in dims:
                raise UnsupportedModel(
                    f"the tensor {value.name} has shape {list(dims)}: a dimension of 0 holds nothing; export the model "
                    f"with the sizes that it is used with"
                )
        found[value.name] = TypedShape(element=tensor.elem_type, dims=dims)
    return found


def _dimension(dim: onnx.TensorShapeProto.Dimension) -> int:
    return int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else -1


def _node(proto: onnx.NodeProto, index: int) -> Node:
    outputs = tuple(proto.output)
    label = proto.name or next((value for value in outputs if value), f"node {index}")
    return Node(op=proto.op_type, label=label, inputs=tuple(proto.input), outputs=outputs, proto=proto)


def _attribute(attribute: AttributeProto) -> Any:
    kinds: dict[int, Any] = {
        AttributeProto.FLOAT: lambda: attribute.f,
        AttributeProto.INT: lambda: attribute.i,
        AttributeProto.STRING: lambda: attribute.s.decode("utf-8", "replace"),
        AttributeProto.TENSOR: lambda: attribute.t,
        AttributeProto.FLOATS: lambda: tuple(attribute.floats),
        AttributeProto.INTS: lambda: tuple(attribute.ints),
        AttributeProto.STRINGS: lambda: tuple(text.decode("utf-8", "replace") for text in attribute.strings),
        AttributeProto.GRAPH: lambda: SUBGRAPH,
        AttributeProto.GRAPHS: lambda: SUBGRAPH,
    }
    return kinds[attribute.type]() if attribute.type in kinds else None


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name[:120] for name in names[:MAX_NAMES_IN_MESSAGE])
    return shown + (f" and {len(names) - MAX_NAMES_IN_MESSAGE} more" if len(names) > MAX_NAMES_IN_MESSAGE else "")
