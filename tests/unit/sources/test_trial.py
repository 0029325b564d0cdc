"""Networks that a server could not start with, or would answer otherwise than the file: refused when they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform import kept
from accelform.errors import InvalidWeights, NotAModel, UnsupportedModel, UserError
from accelform.sources import open_source, read_source
from accelform.sources.trial import ask, run

Write = Callable[..., Path]
Change = Callable[[onnx.ModelProto], object]


@pytest.fixture
def written(write_onnx: Write) -> Callable[..., Path]:
    """A network of one convolution and a classifier, changed."""

    def write(change: Change) -> Path:
        path = write_onnx()
        model = onnx.load(path)
        change(model)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def tensor(name: str, array: np.ndarray) -> Change:
    def change(model: onnx.ModelProto) -> None:
        kept = [known for known in model.graph.initializer if known.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, numpy_helper.from_array(array, name)])

    return change


def second_initializer(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 3), np.float32), "dense"))


def second_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(model.graph.output[0])


def second_setting(model: onnx.ModelProto) -> None:
    model.graph.node[5].attribute.append(helper.make_attribute("axis", 0))


def second_opset(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 13))


def ending(
    *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, shape: tuple[str | int, ...] = ("batch", 3)
) -> Change:
    """Other nodes behind `scores`; the last one gives the output."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.node[5:]
        model.graph.node.extend(nodes)
        output = helper.make_tensor_value_info(nodes[-1].output[0], kind, shape)
        model.graph.output[0].CopyFrom(output)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(value), name)
                for name, value in (("half", np.float32(0.5)), ("true", True))
            ]
        )

    return change


def sequence_output(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("SequenceConstruct", ["probabilities"], ["list"]))
    model.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("list", TensorProto.FLOAT, ["batch", 3]))


def integer_output_declared_as_float(model: onnx.ModelProto) -> None:
    ending(helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0), shape=("batch",))(model)


def input_of(kind: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node.insert(0, helper.make_node("Cast", ["pixels"], ["image"], to=TensorProto.FLOAT))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("pixels", kind, ["batch", 3, 8, 8]))

    return change


def quantised(*nodes: onnx.NodeProto) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[1].input[0] = "again"
        for node in reversed(nodes):
            model.graph.node.insert(1, node)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(np.array(0.1, np.float32), "step"),
                numpy_helper.from_array(np.array(7, np.uint8), "zero"),
            ]
        )

    return change


AT_RANDOM = (
    helper.make_node("RandomUniformLike", ["scores"], ["chance"]),
    helper.make_node("Add", ["scores", "chance"], ["sum"]),
)
ROUNDED = (
    helper.make_node("QuantizeLinear", ["conv", "step", "zero"], ["small"], name="q"),
    helper.make_node("DequantizeLinear", ["small", "step", "zero"], ["again"]),
)
NEGATIVE = np.array([-0.5, 1, 1, 1], np.float32)


def with_norm(variance: np.ndarray, epsilon: float = 0.0, **settings: Any) -> Change:
    def change(model: onnx.ModelProto) -> None:
        norm = helper.make_node(
            "BatchNormalization",
            ["conv", "b", "b", "b", "variance"],
            ["normed"],
            name="bn",
            epsilon=epsilon,
            **settings,
        )
        model.graph.node.insert(1, norm)
        model.graph.node[2].input[0] = "normed"
        model.graph.initializer.append(numpy_helper.from_array(variance, "variance"))

    return change


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        (second_initializer, NotAModel, "weights twice under one name .dense."),
        (second_output, NotAModel, "output twice under one name"),
        (second_setting, NotAModel, "one setting twice"),
        (second_opset, NotAModel, "two opsets"),
        (tensor("dense", np.zeros((4, 0), np.float32)), UserError, "net.onnx"),
        (tensor("dense", np.array(1, np.float32)), NotAModel, "onnx's checker refuses net.onnx"),
        (tensor("dense", np.full((4, 3), np.inf, np.float32)), InvalidWeights, "the tensor dense has 12 values"),
        (tensor("w", np.full((4, 3, 3, 3), np.nan, np.float32)), InvalidWeights, "the tensor w has 108 values"),
        (with_norm(NEGATIVE, 1e-5), InvalidWeights, "bn has a variance of -0.5 in the tensor variance"),
        (with_norm(np.zeros(4, np.float32)), InvalidWeights, "bn has a variance of 0 in the tensor variance"),
        (with_norm(np.ones(4, np.float32), training_mode=1), UserError, "training"),
        (sequence_output, UnsupportedModel, "list|sequence|shape"),
        (integer_output_declared_as_float, UserError, "net.onnx"),
        (input_of(TensorProto.STRING), UnsupportedModel, "DT_STRING, which is no type of numbers"),
        (input_of(TensorProto.BFLOAT16), UnsupportedModel, "DT_BFLOAT16, which is no type of numbers"),
        (ending(helper.make_node("Softmax", ["scores"], ["p"], axis=0)), UnsupportedModel, "other images of its batch"),
        (ending(helper.make_node("Dropout", ["scores", "half", "true"], ["p"])), UnsupportedModel, "training mode"),
        (ending(*AT_RANDOM), UnsupportedModel, "differ from call to call"),
        (quantised(*ROUNDED), UnsupportedModel, "is quantised.*1 QuantizeLinear; first in q.*float32 model"),
    ],
)
def test_refused_when_it_is_read(
    written: Callable[..., Path], change: Change, kind: type[UserError], words: str, recwarn: pytest.WarningsRecorder
) -> None:
    """With the user's file in the message, no temporary path, and no library's warnings."""
    path = written(change)

    with pytest.raises(kind, match=re.compile(words, re.DOTALL)) as raised:
        read_source(path)

    assert "net.onnx" in str(raised.value)
    assert "onnxruntime_src" not in str(raised.value)
    assert "accelform-trial" not in str(raised.value)
    assert not [warning for warning in recwarn if "numpy" in str(warning.filename)]


def test_a_variance_of_zero_with_an_epsilon_is_a_network(written: Callable[..., Path]) -> None:
    """A channel that was dead in training has one; onnxruntime and the FPGA compute the same with it."""
    source = read_source(written(with_norm(np.zeros(4, np.float32), 1e-3)))

    assert source.classes == 3


def test_what_went_well_is_not_tried_again(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same content under another name, read by code that does other things with it, costs no second trial."""
    first, second = write_onnx("a/net.onnx", seed=3), write_onnx("b/other.onnx", seed=3)
    told: list[str] = []
    read_source(first, progress=told.append)
    monkeypatch.setattr(kept, "_reader", lambda: "another version")

    read_source(second, progress=told.append)

    assert [line.split(":")[0] for line in told if line.startswith("trying")] == ["trying out net.onnx"]


def test_a_reading_that_differs_is_refused(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever Accelform should read otherwise than onnxruntime, the answers tell."""
    path = write_onnx()
    split = open_source(read_source(path))
    conv = split.parameters["conv"]
    assert conv.weights is not None
    conv.weights[0] *= -1
    monkeypatch.setattr(run, "split_onnx", lambda *_args, **_settings: split)
    job = {"path": str(path), "inputs": None, "outputs": None, "checked": True, "name": "net.onnx"}

    with pytest.raises(UnsupportedModel, match="answer otherwise than onnxruntime does with"):
        run.examine(job)


def test_weights_alone_may_be_stored_as_integers(written: Callable[..., Path]) -> None:
    """(integers - zero point) * scale is exact, for the whole tensor or for each channel."""
    scales = np.array([0.5, 0.25, 0.125, 2], np.float32)
    small = np.arange(-54, 54, dtype=np.int8).reshape(4, 3, 3, 3)

    def stored_small(model: onnx.ModelProto) -> None:
        tensor("w/int8", small)(model)
        tensor("w/scale", scales)(model)
        model.graph.node.insert(
            0, helper.make_node("DequantizeLinear", ["w/int8", "w/scale"], ["w/float"], axis=0, name="dq")
        )
        model.graph.node[1].input[1] = "w/float"

    weights = open_source(read_source(written(stored_small))).parameters["conv"].weights

    assert weights is not None
    assert np.array_equal(weights.transpose(3, 2, 0, 1), small.astype(np.float32) * scales.reshape(4, 1, 1, 1))


def test_a_crash_is_the_childs(write_onnx: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that brings a library down ends the process that tried it, and the reader says so."""
    path = write_onnx(seed=20)
    monkeypatch.setattr(ask, "CHILD", "faulthandler_is_no_module_to_run")

    with pytest.raises(UnsupportedModel, match="ended the process that tried it, with exit code 1"):
        read_source(path)


def test_the_kept_list_is_bounded(write_onnx: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest stay."""
    monkeypatch.setattr(ask, "MAX_TRIED", 2)
    for seed in range(3):
        read_source(write_onnx(f"{seed}/net.onnx", seed=10 + seed))

    assert len(json.loads((tmp_path / "imports" / ask.TRIED_FILE).read_text())) == 2


def test_the_fpgas_share_of_the_arithmetic(written: Callable[..., Path]) -> None:
    """Convolutions behind what the FPGA does not have are counted too, though they stay on the CPU."""

    def interrupted(model: onnx.ModelProto) -> None:
        model.graph.node[1].input[0] = "again"
        model.graph.node.insert(1, helper.make_node("Sigmoid", ["conv"], ["gate"]))
        model.graph.node.insert(2, helper.make_node("Conv", ["gate", "w2"], ["again"], pads=[1, 1, 1, 1]))
        model.graph.initializer.append(numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w2"))

    source = read_source(written(interrupted))

    on_fpga, behind = 8 * 8 * 4 * 3 * 9, 8 * 8 * 4 * 4 * 9 + 4 * 3
    assert source.network.multiply_accumulates == on_fpga
    assert source.multiply_accumulates == on_fpga + behind
    assert source.fpga_share == pytest.approx(on_fpga / (on_fpga + behind), abs=1e-6)
