"""What comes before and behind the FPGA's part: preprocessing, other heads, features read from inside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.support.exporting import KERAS, TF, TORCH, TORCH_FOLDED, Exporter, export, random_variables, softmax_head

from accelform.featurizers.families import FAMILIES
from accelform.topology import split_onnx
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import Affine, Convolution, Mean

from .running import assert_close, run_split, run_whole

NETWORK = FAMILIES["resnet50"].network(width_divisor=32)
VARIABLES = random_variables(NETWORK)


def deep_head(exporter: Exporter, values: dict[str, str]) -> list[tuple[str, list[Any]]]:
    """Dropout, batch norm, two dense layers and a second answer, as transfer learning makes them."""
    random = np.random.default_rng(5)
    row = exporter.node("Dropout", exporter.node("Flatten", values[NETWORK.outputs[0].value]))
    vectors = [random.uniform(0.5, 2, 64).astype(np.float32) for _ in range(4)]
    row = exporter.node("BatchNormalization", row, *map(exporter.constant, vectors))
    first = exporter.node("Gemm", row, exporter.constant(random.normal(size=(64, 16)).astype(np.float32)))
    hidden = exporter.node("Relu", first)
    logits = exporter.node("MatMul", hidden, exporter.constant(random.normal(size=(16, 3)).astype(np.float32)))
    exporter.nodes.append(helper.make_node("Softmax", [logits], ["scores"], axis=-1))
    exporter.nodes.append(helper.make_node("ArgMax", [logits], ["class"], axis=-1, keepdims=0))
    return [("scores", ["N", 3]), ("class", ["N"])]


def test_another_head_is_still_the_family() -> None:
    model = export(NETWORK, VARIABLES, TORCH, deep_head, check=False)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    split = split_onnx(model)

    assert split.family == "resnet50"
    assert [step.name for step in split.network.steps] == [step.name for step in NETWORK.steps]
    assert split.head is not None
    kept = [node.op_type for node in split.head.node]
    assert [op for op in kept if op != "Reshape"] == [
        "BatchNormalization",
        "Gemm",
        "Relu",
        "MatMul",
        "Softmax",
        "ArgMax",
    ]
    assert [info.dtype for info in split.outputs] == ["DT_FLOAT", "DT_INT64"]
    image = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


def test_a_head_that_reads_inside_the_featurizer_is_told_so() -> None:
    """For heat maps: the last maps beside the scores. The bitstream gives the features only."""
    last = NETWORK.steps[-2].name

    def head(exporter: Exporter, values: dict[str, str]) -> list[tuple[str, list[Any]]]:
        exporter.nodes.append(helper.make_node("Identity", [values[last]], ["heat"]))
        return [*softmax_head()(exporter, values), ("heat", ["N", 64, 7, 7])]

    model = export(NETWORK, VARIABLES, TORCH, head)
    split = split_onnx(model)

    assert split.family is None
    assert "agrees in every step, but what follows also reads" in split.mismatch
    image = np.random.default_rng(1).normal(size=(1, 3, 224, 224)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


def small() -> Network:
    """Five steps that are no family."""
    from accelform.featurizers.networks.builder import Builder, plain
    from accelform_runtime.network.steps import BatchNorm

    builder = Builder(name="small", image_size=9)
    net = builder.convolution("a", "image", 4, plain(3, padding=1), bias=True, relu=True)
    net = builder.max_pool("b", net, plain(2, stride=2))
    net = builder.affine(net, BatchNorm(scope="c", epsilon=1e-3))
    net = builder.convolution("d", net, 5, plain(4), bias=True)
    builder.output("d:0", net, (5,))
    return builder.network()


@pytest.mark.parametrize("style", [TORCH, TF, KERAS])
def test_bytes_and_normalisation_stay_before_the_fpga(style: Any) -> None:
    """uint8 pixels, divided, shifted, channels reversed: float32 on the CPU, so that no bit is lost."""
    network = small()
    model = export(network, random_variables(network), style, image="normalised")
    shape: list[str | int] = ["N", 9, 9, 3] if style.channels_last else ["N", 3, 9, 9]
    axis = 3 if style.channels_last else 1
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("bytes", TensorProto.UINT8, shape))
    mean = np.array([103.9, 116.8, 123.7], np.float32).reshape(3 if style.channels_last else (3, 1, 1))
    before = [
        helper.make_node("Cast", ["bytes"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["floats", "backwards"], ["reversed"], axis=axis),
        helper.make_node("Sub", ["reversed", "mean"], ["shifted"]),
        helper.make_node("Div", ["shifted", "spread"], ["normalised"]),
    ]
    for name, array in (("backwards", np.array([2, 1, 0])), ("mean", mean), ("spread", np.array(58, np.float32))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    nodes = [*before, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    split = split_onnx(model)

    assert isinstance(split.network.steps[0], Convolution)
    assert sum(isinstance(step, Affine) for step in split.network.steps) == 1
    assert (split.inputs[0].name, split.inputs[0].dtype) == ("bytes", "DT_UINT8")
    assert split.front is not None
    assert [node.op_type for node in split.front.node][:4] == ["Cast", "Gather", "Sub", "Div"]
    concrete = [dim if isinstance(dim, int) else 1 for dim in shape]
    image = np.random.default_rng(1).integers(0, 256, concrete).astype(np.uint8)
    assert_close(run_whole(model, image), run_split(split, image))


def test_dense_layers_alone() -> None:
    """A network without convolutions: its input is one position of many channels."""
    random = np.random.default_rng(0)
    arrays = {"w1": random.normal(size=(12, 8)), "b1": random.normal(size=8), "w2": random.normal(size=(3, 8))}
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["row"]),
        helper.make_node("MatMul", ["row", "w1"], ["sum"], name="first"),
        helper.make_node("Add", ["sum", "b1"], ["biased"]),
        helper.make_node("Relu", ["biased"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2"], ["logits"], name="second", transB=1, alpha=0.5),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 2, 2, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    split = split_onnx(model)

    assert [(step.name, type(step)) for step in split.network.steps] == [
        ("first", Convolution),
        ("second", Convolution),
    ]
    assert (split.front, split.head) == (None, None)
    image = random.normal(size=(1, 2, 2, 3)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


def test_shapes_that_the_graph_computes_itself() -> None:
    """As exporters write `x.view(x.size(0), -1)`: the batch is looked up while the graph runs."""
    network = small()
    model = export(network, random_variables(network), TORCH)
    last = model.graph.node[-1]
    nodes = [
        *list(model.graph.node)[:-1],
        helper.make_node("Shape", [last.input[0]], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Concat", ["batch", "minus"], ["wanted"], axis=0),
        helper.make_node("Reshape", [last.input[0], "wanted"], ["d:0"]),
    ]
    for name, array in (("zero", np.array([0])), ("minus", np.array([-1]))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    split = split_onnx(model)

    assert split.head is None
    assert [output.shape for output in split.network.outputs] == [(5,)]
    assert not any(isinstance(step, Mean) for step in split.network.steps)
    image = np.random.default_rng(1).normal(size=(1, 3, 9, 9)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 16, 18, 20, 21, 23, 24, 25, 26])
def test_opsets(opset: int) -> None:
    """What moved from attributes to inputs over the years is read in both places."""
    style = replace(TORCH_FOLDED if opset < 18 else KERAS, opset=opset)
    network = small()
    model = export(network, random_variables(network), style)
    split = split_onnx(model)

    assert [type(step) for step in split.network.steps] == [type(step) for step in network.steps]
    assert split.opset == opset
    shape = (1, 9, 9, 3) if style.channels_last else (1, 3, 9, 9)
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


def space_to_batch_model(*, crop: int) -> onnx.ModelProto:
    """A convolution of dilation 6 as TensorFlow 1 wrote it: 20 + 6 + 10 rows in 6 x 6 blocks, 24 back, some cut off."""
    random = np.random.default_rng(0)
    arrays = {
        "w1": random.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32),
        "w2": random.normal(0, 0.3, (5, 4, 3, 3)).astype(np.float32),
        "b2": random.normal(size=5).astype(np.float32),
        "pads": np.array([0, 0, 6, 6, 0, 0, 10, 10]),
        "zero": np.array([0, 0]),
        "crop": np.array([-crop, -crop]),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["pixels", "w1"], ["c1"], name="first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Pad", ["r1", "pads"], ["padded"]),
        helper.make_node("Transpose", ["padded"], ["swapped"], perm=[1, 0, 2, 3]),
        helper.make_node("SpaceToDepth", ["swapped"], ["deep"], blocksize=6),
        helper.make_node("Transpose", ["deep"], ["batch"], perm=[1, 0, 2, 3]),
        helper.make_node("Conv", ["batch", "w2", "b2"], ["c2"], name="dilated", kernel_shape=[3, 3]),
        helper.make_node("Transpose", ["c2"], ["deep_again"], perm=[1, 0, 2, 3]),
        helper.make_node("DepthToSpace", ["deep_again"], ["wide"], blocksize=6),
        helper.make_node("Slice", ["wide", "zero", "crop", "axes"], ["cropped"]),
        helper.make_node("Relu", ["cropped"], ["r2"]),
        helper.make_node("Transpose", ["r2"], ["maps"], perm=[1, 2, 3, 0]),
    ]
    side = 24 - crop
    graph = helper.make_graph(
        nodes,
        "dilated",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, 20, 20])],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", side, side, 5])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("crop", [4, 3, 10])
def test_space_to_batch_is_a_dilated_convolution(crop: int) -> None:
    """With the crop taken from its padding, as long as it is padding that is cut off."""
    model = space_to_batch_model(crop=crop)
    split = split_onnx(model)

    dilated = split.network.by_name["dilated"]
    assert isinstance(dilated, Convolution)
    assert (dilated.window.dilation, dilated.relu) == ((6, 6), True)
    assert dilated.window.padding == (6, 6, 10 - crop, 10 - crop)
    assert split.head is None
    image = np.random.default_rng(1).normal(size=(1, 3, 20, 20)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))


def test_cutting_more_than_the_padding_stays_on_the_cpu() -> None:
    model = space_to_batch_model(crop=11)
    split = split_onnx(model)

    assert [step.name for step in split.network.steps] == ["first"]
    assert split.head is not None
    assert "1 of its layers stay on the CPU" in split.mismatch
    image = np.random.default_rng(1).normal(size=(1, 3, 20, 20)).astype(np.float32)
    assert_close(run_whole(model, image), run_split(split, image))
