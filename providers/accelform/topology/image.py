"""Finds where the FPGA's part begins: the value that the first convolution reads, before padding and transposing."""

from __future__ import annotations

from math import prod

import numpy as np
import onnx

from accelform.errors import UnsupportedModel
from accelform.topology.constants import Budget, Constant, fold
from accelform.topology.graph import Graph, Node, TypedShape
from accelform.topology.values import MapValue, Order
from accelform_runtime.network.steps import Maps

PASSED = ("Identity", "Dropout", "Pad", "Transpose", "Cast")
"""Operators between the image and the first convolution that belong to the FPGA's part."""

SAME_SHAPE = ("Clip", "Relu", "Sigmoid", "Tanh", "Softmax", "Log", "BatchNormalization", "InstanceNormalization")
"""Operators before the image that give the shape of what they read."""

MAX_IMAGE = 2**25
MAX_FRONT = 500
"""Nodes before the image whose shapes are looked into."""


def find_image(graph: Graph, constants: dict[str, Constant]) -> tuple[str, MapValue]:
    """The value's name, and how it lies as maps.

    Raises:
        UnsupportedModel: there is no convolution or dense layer, or its input has no fixed size
    """
    first = _first_layer(graph, constants)
    if first is None:
        raise UnsupportedModel(
            "the network has no convolution and no dense layer with fixed weights: there is nothing that an FPGA could "
            "run; deploy a network of convolutions"
        )
    value = first.inputs[0]
    order: Order = "CHW" if first.op == "Conv" else "HWC"
    while (node := graph.producers.get(value)) is not None and value not in graph.inputs:
        if node.op not in PASSED and not (first.op != "Conv" and node.op in ("Reshape", "Flatten")):
            break
        if node.op == "Transpose":
            perm = tuple(node.attribute("perm", ()))
            if perm not in ((0, 3, 1, 2), (0, 2, 3, 1)):
                break
            order = "HWC" if perm == (0, 3, 1, 2) else "CHW"
        value = node.inputs[0]
    return value, _start(value, order, _shape(graph, value, constants), first, constants)


def _first_layer(graph: Graph, constants: dict[str, Constant]) -> Node | None:
    for op, rank in ((("Conv",), 4), (("Gemm", "MatMul"), 2)):
        for node in graph.nodes:
            weights = constants.get(node.input(1))
            if node.op in op and weights is not None and len(weights.shape) == rank and node.input(0) not in constants:
                return node
    return None


def _start(
    value: str, order: Order, dims: tuple[int, ...] | None, first: Node, constants: dict[str, Constant]
) -> MapValue:
    known = dims is not None and all(dim > 0 for dim in dims[1:])
    if dims is None or not known or len(dims) not in (2, 4):
        shown = "unknown" if dims is None else str(list(dims)).replace("-1", "?")
        raise UnsupportedModel(
            f"the image that {first.label} ({first.op}) reads, {value}, has shape {shown}: the FPGA needs a fixed "
            f"height, width and number of channels; export the model with a fixed input "
            f"size ([N, height, width, channels] or [N, channels, height, width])"
        )
    if dims[0] > 1:
        raise UnsupportedModel(
            f"the input {value} has a fixed batch of {dims[0]} images: the FPGA takes one image at a time; export the "
            f"model with a batch of 1 or of any length"
        )
    if len(dims) == 2:
        maps = Maps(height=1, width=1, channels=dims[1])
    elif order == "CHW":
        maps = Maps(height=dims[2], width=dims[3], channels=dims[1])
    else:
        maps = Maps(height=dims[1], width=dims[2], channels=dims[3])
    if first.op == "Conv" and constants[first.inputs[1]].shape[1] != maps.channels:
        raise UnsupportedModel(
            f"the convolution {first.label} takes {constants[first.inputs[1]].shape[1]} channels, and the image "
            f"{value} has shape {list(dims)}: grouped or misfitting first layers can't run on the FPGA"
        )
    if maps.size > MAX_IMAGE:
        raise UnsupportedModel(
            f"the image {value} has shape {list(dims)}: at most {MAX_IMAGE:,} values are taken; export the model with "
            f"the size that it is used with"
        )
    return MapValue(raw=0, maps=maps, order=order, shape=(1, *dims[1:]))


def _shape(graph: Graph, value: str, constants: dict[str, Constant]) -> tuple[int, ...] | None:
    """From the file, or from the shapes of what leads there."""
    found = graph.types.get(value)
    if found is not None and found.dims is not None and all(dim > 0 for dim in found.dims[1:]):
        return found.dims
    inferred = _inferred(graph, value, constants)
    return inferred if inferred is not None else (None if found is None else found.dims)


def _inferred(graph: Graph, value: str, constants: dict[str, Constant]) -> tuple[int, ...] | None:
    """By following an image of ones through the graph in NumPy: libraries that infer shapes abort on hostile graphs."""
    wanted: set[str] = {value}
    nodes: list[Node] = []
    for node in reversed(graph.nodes):
        if any(name in wanted and name not in graph.inputs for name in node.outputs):
            nodes.append(node)
            wanted.update(node.inputs)
    if len(nodes) > MAX_FRONT:
        return None
    known = dict(constants)
    for name in graph.inputs:
        typed = graph.types.get(name)
        if typed is not None and typed.dims and all(dim > 0 for dim in typed.dims[1:]):
            dims = (1, *typed.dims[1:])
            if prod(dims) <= MAX_IMAGE:
                known[name] = Constant(name, array=np.broadcast_to(np.float32(1), dims), real=False)
    budget = Budget()
    budget.left = MAX_IMAGE
    for node in reversed(nodes):
        result = _followed(node, known, budget)
        if result is not None:
            known[node.outputs[0]] = result
    return known[value].shape if value in known else None


def _followed(node: Node, known: dict[str, Constant], budget: Budget) -> Constant | None:
    data = known.get(node.input(0))
    if node.op in SAME_SHAPE:
        return data
    if node.op == "Resize" and data is not None:
        sizes, scales = known.get(node.input(3)), known.get(node.input(2))
        dims: tuple[int, ...] = ()
        if sizes is not None and sizes.size == len(data.shape):
            dims = tuple(int(size) for size in sizes.array().reshape(-1))
        elif scales is not None and scales.size == len(data.shape):
            factors = scales.array().reshape(-1)
            dims = tuple(int(dim * float(factor)) for dim, factor in zip(data.shape, factors, strict=True))
        if not dims or min(dims) < 1 or prod(dims) > MAX_IMAGE:
            return None
        return Constant(data.name, array=np.broadcast_to(np.float32(1), dims), real=False)
    if any(name and name not in known for name in node.inputs):
        return None
    return fold(node, [known.get(name) for name in node.inputs], with_weights=True, budget=budget)


def value_info(name: str, typed: TypedShape) -> onnx.ValueInfoProto:
    """As ONNX writes it; dimensions of any length are left open."""
    dims = None if typed.dims is None else [None if dim < 0 else dim for dim in typed.dims]
    return onnx.helper.make_tensor_value_info(name, typed.element, dims)
