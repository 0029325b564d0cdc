"""Graphs that can't be split: one clear error, quickly, with little memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.errors import InvalidWeights, NotAModel, UnknownTensor, UnsupportedModel, UserError
from accelform.topology import split_onnx

Change = Callable[[onnx.ModelProto], object]


def model(*, opset: int = 17, shape: tuple[str | int, ...] = ("N", 3, 8, 8)) -> onnx.ModelProto:
    """Conv, ReLU, mean, dense, Softmax."""
    random = np.random.default_rng(0)
    tensors = {
        "kernel": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "bias": np.zeros(4, np.float32),
        "matrix": random.normal(size=(4, 2)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "kernel", "bias"], ["maps"], name="conv"),
        helper.make_node("Relu", ["maps"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["mean"], name="pool"),
        helper.make_node("Flatten", ["mean"], ["row"], name="flatten"),
        helper.make_node("MatMul", ["row", "matrix"], ["logits"], name="dense"),
        helper.make_node("Softmax", ["logits"], ["scores"], name="softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def with_tensor(name: str, array: np.ndarray) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name == name:
                tensor.CopyFrom(numpy_helper.from_array(array, name))

    return change


def with_shape(*dims: str | int | None) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", TensorProto.FLOAT, dims))

    return change


def with_node(index: int, **settings: Any) -> Change:
    def change(proto: onnx.ModelProto) -> None:
        node = proto.graph.node[index]
        new = {"op_type": node.op_type, "inputs": list(node.input), "outputs": list(node.output), "name": node.name}
        node.CopyFrom(helper.make_node(**(new | settings)))

    return change


def truncated(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]


def external(proto: onnx.ModelProto) -> None:
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")


def with_branch(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["logits"], ["inner"])], "body", [], [])
    node = helper.make_node("If", ["flag"], ["scores"], name="choice", then_branch=body, else_branch=body)
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
    proto.graph.node[5].CopyFrom(node)


def with_function(proto: onnx.ModelProto) -> None:
    proto.functions.append(
        helper.make_function("own", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [])
    )


def with_second_input(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(helper.make_tensor_value_info("factor", TensorProto.FLOAT, [1, 2]))
    with_node(4, op_type="Mul", inputs=["row", "factor"])(proto)


def without_layers(proto: onnx.ModelProto) -> None:
    with_node(0, op_type="Erf", inputs=["pixels"])(proto)
    with_node(4, op_type="Sigmoid", inputs=["row"])(proto)


def reading_the_image(proto: onnx.ModelProto) -> None:
    with_node(5, op_type="Concat", inputs=["logits", "pixels"], axis=1)(proto)


IN_THE_GRAPH = [
    (lambda proto: proto.graph.ClearField("node"), NotAModel, "not an ONNX network"),
    (lambda proto: proto.graph.ClearField("output"), NotAModel, "has no outputs"),
    (with_node(1, inputs=["nothing"]), NotAModel, "relu reads nothing, which no node before it gives"),
    (with_node(2, outputs=["active"]), NotAModel, "value active is given twice"),
    (with_shape("N", 3, 0, 8), UnsupportedModel, "pixels has shape .* a dimension of 0"),
    (with_shape("N", 3, "height", "width"), UnsupportedModel, r"pixels, has shape \[\?, 3, \?, \?\].* fixed height"),
    (with_shape(32, 3, 8, 8), UnsupportedModel, "fixed batch of 32 images"),
    (with_shape("N", 3, 10**6, 10**6), UnsupportedModel, "values are taken"),
    (with_shape("N", 5, 8, 8), UnsupportedModel, "conv takes 3 channels"),
    (with_branch, UnsupportedModel, r"choice \(If\) runs a graph of its own"),
    (with_function, UnsupportedModel, r"functions of its own \(Twice\)"),
    (with_node(5, domain="com.example"), UnsupportedModel, "com.example.Softmax"),
    (with_node(5, op_type="Softermax"), UnsupportedModel, "softmax is a Softermax"),
    (with_second_input, UnsupportedModel, r"has 2 inputs \(factor, pixels\)"),
    (reading_the_image, UnsupportedModel, "also needs the input itself"),
    (without_layers, UnsupportedModel, "no convolution and no dense layer with fixed weights"),
]
IN_THE_WEIGHTS = [
    (external, NotAModel, "values of the tensor kernel are in another file"),
    (truncated, InvalidWeights, "tensor kernel of shape .* truncated or damaged"),
    (with_tensor("kernel", np.full((4, 3, 3, 3), np.nan, np.float32)), InvalidWeights, "tensor kernel has 108 values"),
    (with_tensor("bias", np.array([0, np.inf, 0, 0], np.float32)), InvalidWeights, "tensor bias has 1 values"),
]


@pytest.mark.parametrize(("change", "error", "words"), [*IN_THE_GRAPH, *IN_THE_WEIGHTS])
def test_one_clear_error(change: Change, error: type[UserError], words: str) -> None:
    proto = model()
    change(proto)
    with pytest.raises(error, match=words):
        split_onnx(proto)


@pytest.mark.parametrize(("change", "error", "words"), IN_THE_GRAPH)
def test_a_preview_finds_what_is_in_the_graph(change: Change, error: type[UserError], words: str) -> None:
    proto = model()
    change(proto)
    with pytest.raises(error, match=words):
        split_onnx(proto, with_weights=False)


@pytest.mark.parametrize("opset", [10, 27])
def test_opsets(opset: int) -> None:
    with pytest.raises(UnsupportedModel, match=f"uses opset {opset}; supported are 11 to 26"):
        split_onnx(model(opset=opset))


def test_tensor_names() -> None:
    with pytest.raises(UnknownTensor, match="no output tensor probabilities: the graph's outputs are scores"):
        split_onnx(model(), output_tensors=["probabilities"])
    with pytest.raises(UnknownTensor, match="no input tensor image:0: the graph's inputs are pixels"):
        split_onnx(model(), input_tensors=["image:0"])
    with pytest.raises(UnknownTensor, match="also depend on the input pixels"):
        split_onnx(model(), input_tensors=["row"], output_tensors=["scores", "mean"])
    with pytest.raises(UnknownTensor, match="name one twice"):
        split_onnx(model(), output_tensors=["scores", "scores"])


def test_tensors_inside_can_be_named() -> None:
    split = split_onnx(model(), output_tensors=["logits", "mean"])
    assert [(info.name, info.alias, info.shape) for info in split.outputs] == [
        ("logits", "out_0", (-1, 2)),
        ("mean", "out_1", (-1, 4, 1, 1)),
    ]


def test_half_and_double_weights_become_float32() -> None:
    for kind in (np.float16, np.float64):
        proto = model()
        for tensor in proto.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(kind), tensor.name))
        element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.elem_type = element
        told: list[str] = []
        split = split_onnx(proto, progress=told.append)

        assert all(arrays.bias is None or arrays.bias.dtype == np.float32 for arrays in split.parameters.values())
        assert len(told) == 1
        assert f"weights are {np.dtype(kind).name} in the file" in told[0]
        assert split.inputs[0].dtype == {np.float16: "DT_HALF", np.float64: "DT_DOUBLE"}[kind]
        assert split.head is not None
        casts = [node.attribute[0].i for node in split.head.node if node.op_type == "Cast"]
        assert casts == [element]


def test_a_chain_of_many_nodes_takes_no_recursion() -> None:
    proto = model()
    names = ["logits", *(f"copy_{index}" for index in range(20_000))]
    copies = [helper.make_node("Identity", [a], [b]) for a, b in pairwise(names)]
    proto.graph.node[5].input[0] = names[-1]
    last = proto.graph.node.pop()
    proto.graph.node.extend([*copies, last])

    start = time.process_time()
    assert [step.name for step in split_onnx(proto).network.steps] == ["conv", "pool", "dense"]
    assert time.process_time() - start < 10


@pytest.mark.parametrize("op", ["Expand", "Tile", "ConstantOfShape", "Add", "Gather"])
def test_constants_that_explode_take_no_memory(op: str) -> None:
    """A kilobyte of file that asks for terabytes of weights."""
    proto = model()
    wide = np.array([2**20, 2**20] if op in ("Tile", "Expand") else [2**40], np.int64)
    tensors: dict[str, np.ndarray] = {
        "one": np.ones((1, 1), np.float32),
        "wide": wide,
        "many": np.zeros((2**10, 2**10), np.int64),
    }
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in tensors.items())
    bombs = {
        "Expand": [helper.make_node("Expand", ["one", "wide"], ["bomb"])],
        "Tile": [helper.make_node("Tile", ["one", "wide"], ["bomb"])],
        "ConstantOfShape": [helper.make_node("ConstantOfShape", ["wide"], ["bomb"])],
        "Gather": [
            helper.make_node("Gather", ["many", "many"], ["rows"], axis=0),
            helper.make_node("Gather", ["rows", "many"], ["bomb"], axis=0),
        ],
        "Add": [
            helper.make_node("Reshape", ["many", "column"], ["tall"]),
            helper.make_node("Reshape", ["many", "row_shape"], ["long"]),
            helper.make_node("Add", ["tall", "long"], ["bomb"]),
        ],
    }[op]
    for name, shape in (("column", [-1, 1]), ("row_shape", [1, -1])):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), name))
    nodes = [*bombs, *proto.graph.node]
    nodes[-2] = helper.make_node("MatMul", ["row", "bomb"], ["logits"], name="dense")
    proto.graph.ClearField("node")
    proto.graph.node.extend(nodes)

    tracemalloc.start()
    try:
        split = split_onnx(proto)
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()
    assert [step.name for step in split.network.steps] == ["conv", "pool"]


def test_what_cannot_run_on_the_fpga_is_named() -> None:
    """Depthwise and limited: as much as can be is lifted, and the first thing that can't be is told."""
    proto = model()
    proto.graph.initializer.append(numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "depthwise"))
    nodes = list(proto.graph.node)
    nodes[1:2] = [
        helper.make_node("Conv", ["maps", "depthwise"], ["deep"], name="separable", group=4),
        helper.make_node("Relu", ["deep"], ["active"], name="relu"),
    ]
    proto.graph.ClearField("node")
    proto.graph.node.extend(nodes)
    split = split_onnx(proto)

    assert [step.name for step in split.network.steps] == ["conv"]
    assert "separable (Conv) is a grouped convolution (4 groups)" in split.mismatch
    assert split.family is None
