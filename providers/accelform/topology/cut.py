"""Cuts an ONNX graph before and after the FPGA's part: what stays on the CPU, as graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelform.errors import InvalidWeights, NotAModel, UnsupportedModel
from accelform.topology.constants import Constant, decoded
from accelform.topology.graph import FLOATS, Graph, Node
from accelform.topology.image import value_info
from accelform.topology.lifter import Lifter
from accelform.topology.values import MapValue
from accelform_runtime.network.network import Output
from accelform_runtime.network.steps import Maps


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The nodes that some values need, back to where maps or inputs are read.

    Attributes:
        nodes: in execution order
        reads: values of the FPGA's part that they read
        constants: values that are known before the graph runs
        inputs: values without a producer in the graph's part: its inputs
    """

    nodes: tuple[Node, ...]
    reads: tuple[str, ...]
    constants: tuple[str, ...]
    inputs: tuple[str, ...]


def backwards(
    graph: Graph,
    wanted: Sequence[str],
    constants: dict[str, Constant],
    *,
    stops: Callable[[str], bool] = lambda _name: False,
) -> Slice:
    """From `wanted` back to constants, to inputs of the graph and to values where `stops` says so."""
    reads: dict[str, None] = {}
    known: dict[str, None] = {}
    inputs: dict[str, None] = {}
    open_values: set[str] = set()

    def want(name: str) -> None:
        if not name:
            return
        if stops(name):
            reads[name] = None
        elif name in graph.inputs:
            inputs[name] = None
        elif name in constants or name in graph.initializers:
            known[name] = None
        else:
            open_values.add(name)

    for name in wanted:
        want(name)
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if any(value in open_values for value in node.outputs):
            nodes.append(node)
            for name in node.inputs:
                want(name)
    return Slice(nodes=tuple(nodes[::-1]), reads=tuple(reads), constants=tuple(known), inputs=tuple(inputs))


def front_graph(
    graph: Graph, part: Slice, constants: dict[str, Constant], *, image: str, start: MapValue, tensor: str
) -> onnx.GraphProto:
    """From the wire's input to the image, `tensor` float32 [1, height, width, channels]."""
    maps = start.maps
    sides = (1, maps.height, maps.width, maps.channels)
    shape = numpy_helper.from_array(np.array(sides, np.int64), f"{tensor}/shape")
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if image not in graph.types or graph.types[image].element != TensorProto.FLOAT:
        steps.append(("Cast", [], {"to": int(TensorProto.FLOAT)}))
    if len(start.shape) == 4 and start.order == "CHW":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    elif len(start.shape) != 4:
        steps.append(("Reshape", [shape.name], {}))
    nodes = [node.proto for node in part.nodes]
    value = image
    for index, (op, more, attributes) in enumerate(steps or [("Identity", [], {})], start=1):
        result = tensor if index >= len(steps) else f"{tensor}/{op}"
        nodes.append(helper.make_node(op, [value, *more], [result], **attributes))
        value = result
    inputs = [value_info(name, graph.types[name]) for name in part.inputs]
    output = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, sides)
    extra = [shape] if any(op == "Reshape" for op, _, _ in steps) else []
    return helper.make_graph(nodes, "front", inputs, [output], [*_embedded(graph, part, constants), *extra])


def head_graph(
    lifter: Lifter, part: Slice, outputs: Sequence[Output], tensors: dict[str, str], sizes: dict[str, Maps]
) -> onnx.GraphProto:
    """From the network's outputs to the wire's.

    Args:
        tensors: value that the head reads -> tensor that the network gives
        sizes: that tensor -> its maps
    """
    graph = lifter.graph
    nodes: list[onnx.NodeProto] = []
    extra: list[TensorProto] = []
    for index, name in enumerate(part.reads):
        value = lifter.values[name]
        assert isinstance(value, MapValue)
        nodes += _bridge(
            value, sizes[tensors[name]], tensors[name], name, _element(graph, name), f"bridge_{index}", extra
        )
    inputs = [helper.make_tensor_value_info(output.tensor, TensorProto.FLOAT, (1, *output.shape)) for output in outputs]
    ends = [_output_info(graph, name) for name in graph.outputs]
    nodes += [node.proto for node in part.nodes]
    # An output that is a constant has no node yet.
    given = {value for node in nodes for value in node.output}
    renamed = {name: f"{name}/constant" for name in graph.outputs if name not in given}
    nodes += [helper.make_node("Identity", [renamed[name]], [name]) for name in part.constants if name in renamed]
    head = helper.make_graph(nodes, "head", inputs, ends)
    # One by one: adding copies, and classifiers are most of some networks.
    for tensor in _embedded(graph, part, lifter.constants):
        head.initializer.append(tensor)
        head.initializer[-1].name = renamed.get(tensor.name, tensor.name)
    head.initializer.extend(extra)
    return head


def _bridge(
    value: MapValue,
    maps: Maps,
    tensor: str,
    name: str,
    element: int,
    prefix: str,
    extra: list[TensorProto],
) -> list[onnx.NodeProto]:
    """The network's tensor, channels last, as the value that the graph's own nodes read."""
    nodes: list[onnx.NodeProto] = []

    def reshaped(source: str, shape: Sequence[int], target: str) -> None:
        constant = numpy_helper.from_array(np.array(shape, np.int64), f"{target}/accelform_shape")
        extra.append(constant)
        nodes.append(helper.make_node("Reshape", [source, constant.name], [target]))

    source = tensor
    if "HWC" not in value.orders:
        reshaped(source, (1, maps.height, maps.width, maps.channels), f"{prefix}/last")
        nodes.append(helper.make_node("Transpose", [f"{prefix}/last"], [f"{prefix}/first"], perm=[0, 3, 1, 2]))
        source = f"{prefix}/first"
    if element == TensorProto.FLOAT:
        reshaped(source, value.shape, name)
        return nodes
    reshaped(source, value.shape, f"{prefix}/float32")
    nodes.append(helper.make_node("Cast", [f"{prefix}/float32"], [name], to=element))
    return nodes


def check_operators(graph: Graph, nodes: Sequence[Node]) -> None:
    """Raises: UnsupportedModel: an operator that standard ONNX does not have in this opset."""
    for node in nodes:
        if not onnx.defs.has(node.op, graph.opset, ""):
            raise UnsupportedModel(
                f"the node {node.label} is a {node.op}, which standard ONNX does not have in opset {graph.opset}: the "
                f"CPU part of a served model can only use standard operators"
            )


def _embedded(graph: Graph, part: Slice, constants: dict[str, Constant]) -> Iterator[TensorProto]:
    """The constants of a part; those of the file are the file's own."""
    for name in part.constants:
        if name not in graph.initializers:
            values = np.ascontiguousarray(constants[name].array())
            tensor = numpy_helper.from_array(values, name)
        else:
            tensor = graph.initializers[name]
            if tensor.data_location == TensorProto.EXTERNAL:
                raise NotAModel(
                    f"the values of the tensor {name} are in another file, which was not loaded with the model"
                )
            values = decoded(tensor)
        if tensor.data_type in FLOATS and np.isnan(values.astype(np.float32, copy=False)).any():
            raise InvalidWeights(
                f"the tensor {name} has values that are NaN: look for the step that diverged in training, and export "
                f"the model again"
            )
        del values
        yield tensor


def _element(graph: Graph, name: str) -> int:
    """The type of a value that the FPGA's part gives: what the file says, or what the operators before it make."""
    seen = 0
    while seen <= len(graph.nodes):
        if (found := graph.types.get(name)) is not None and found.element in FLOATS:
            return found.element
        if name in graph.initializers and graph.initializers[name].data_type in FLOATS:
            return graph.initializers[name].data_type
        node = graph.producers.get(name)
        if node is None:
            break
        if node.op == "Cast":
            return int(node.attribute("to"))
        if isinstance(held := node.attribute("value"), TensorProto):
            return held.data_type
        # Of all operators that the FPGA has, the result has the type of the first input.
        name, seen = node.input(0), seen + 1
    return int(TensorProto.FLOAT)


def _output_info(graph: Graph, name: str) -> onnx.ValueInfoProto:
    if name in graph.types:
        return value_info(name, graph.types[name])
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
