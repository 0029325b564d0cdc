from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.support.networks import TENSORS, every_kind, image_for, seeded_parameters

from accelform.conversion.converter import build
from accelform.conversion.exactness import check_exactness, open_session
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.errors import InvalidWeights, UnsupportedModel
from accelform_runtime.network.parameters import StepArrays
from accelform_runtime.numerics import load_profile

FLOAT = TensorProto.FLOAT
BRAINWAVE = load_profile("bw-a10-cnn")


def tensor(name: str, *shape: int) -> TensorInfo:
    return TensorInfo(name=name, alias=name.partition(":")[0], dtype="DT_FLOAT", shape=shape)


def graph(name: str, nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: dict[str, list[int]],
          **constants: np.ndarray) -> onnx.GraphProto:  # fmt: skip
    return helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(key, FLOAT, shape) for key, shape in inputs.items()],
        [helper.make_tensor_value_info(key, FLOAT, shape) for key, shape in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )


@pytest.fixture
def split() -> SplitModel:
    """A front that halves, a head that doubles; both use names that the converter uses too."""
    network = every_kind()
    shape = [1, network.image.height, network.image.width, 3]
    front = graph(
        "front",
        [helper.make_node("Mul", ["given:0", "factor"], ["net/stem/Relu_1"]),
         helper.make_node("Identity", ["net/stem/Relu_1"], ["image:0"])],
        {"given:0": shape}, {"image:0": shape}, factor=np.array(0.5, np.float32),
    )  # fmt: skip
    head = graph(
        "head",
        [helper.make_node("Mul", [TENSORS[2], "net/stem/biases"], ["net/stem/Relu_1"]),
         helper.make_node("Identity", ["net/stem/Relu_1"], ["answer:0"])],
        {TENSORS[2]: [1, 1, 1, 10]}, {"answer:0": [1, 1, 1, 10]}, **{"net/stem/biases": np.array(2, np.float32)},
    )  # fmt: skip
    return SplitModel(
        network=network,
        parameters=seeded_parameters(network),
        family=None,
        mismatch="it is a test's",
        image_tensor="image:0",
        inputs=(tensor("given:0", -1, *shape[1:]),),
        outputs=(tensor("answer:0", -1, 1, 1, 10), tensor(TENSORS[0], -1, 4, 7, 12)),
        front=front,
        head=head,
    )


def test_front_and_head_surround_the_network(split: SplitModel) -> None:
    """Their names never meet those of the converter's own graph, and the wire has the tensors that were asked for."""
    built = build(split, name="joined", fmt=BRAINWAVE)
    onnx.checker.check_model(built.proto, full_check=True)
    alone = dataclasses.replace(split, front=None, head=None, outputs=(tensor(TENSORS[2], -1, 1, 1, 10),),
                                inputs=(tensor("image:0", -1, 17, 14, 3),))  # fmt: skip
    image = image_for(split.network)[np.newaxis]

    answer, maps = open_session(built.proto, threads=1).run(None, {"given:0": image * 2})

    (expected,) = open_session(build(alone, name="alone", fmt=BRAINWAVE).proto, threads=1).run(None, {"image:0": image})
    assert np.array_equal(expected * 2, answer)
    assert maps.shape == (1, 4, 7, 12)
    assert check_exactness(split, image, number_format="bw-a10-cnn", threads=1).different == ()


def test_parts_have_their_own_names(split: SplitModel) -> None:
    """What an engine runs around the network is what the model brought."""
    built = build(split, name="joined", fmt=BRAINWAVE)

    assert built.front is not None
    assert built.head is not None
    assert [item.name for item in (*built.front.graph.input, *built.front.graph.output)] == ["given:0", "image:0"]
    assert [item.name for item in (*built.head.graph.input, *built.head.graph.output)] == [TENSORS[2], "answer:0"]
    for part in (built.front, built.head):
        onnx.checker.check_model(part, full_check=True)


def test_an_older_opset_is_brought_forward(split: SplitModel) -> None:
    """A head of opset 11, whose ReduceMean still has its axes as an attribute."""
    head = graph(
        "head", [helper.make_node("ReduceMean", [TENSORS[2]], ["answer:0"], axes=[3])],
        {TENSORS[2]: [1, 1, 1, 10]}, {"answer:0": [1, 1, 1, 1]},
    )  # fmt: skip
    old = dataclasses.replace(split, head=head, front=None, opset=11, inputs=(tensor("image:0", -1, 17, 14, 3),))
    image = image_for(split.network)[np.newaxis]

    built = build(old, name="old", fmt=BRAINWAVE)

    answer, _ = open_session(built.proto, threads=1).run(None, {"image:0": image})
    assert answer.shape == (1, 1, 1, 1)
    assert {entry.version for entry in built.proto.opset_import if not entry.domain} == {24}


def test_an_operator_without_a_newer_form_is_refused(split: SplitModel) -> None:
    """Upsample ended with opset 9: the message says what was tried."""
    head = graph(
        "head", [helper.make_node("Upsample", [TENSORS[2], "scales"], ["answer:0"], mode="nearest")],
        {TENSORS[2]: [1, 1, 1, 10]}, {"answer:0": [1, 1, 1, 10]}, scales=np.ones(4, np.float32),
    )  # fmt: skip

    with pytest.raises(UnsupportedModel, match="what follows the FPGA's part is in ONNX opset 11"):
        build(dataclasses.replace(split, front=None, head=head, opset=11), name="old", fmt=BRAINWAVE)


def test_parts_that_do_not_meet_are_refused(split: SplitModel) -> None:
    """A head that reads something else, and an output that nobody gives."""
    strange = graph(
        "head", [helper.make_node("Relu", ["logits:0"], ["answer:0"])], {"logits:0": [1]}, {"answer:0": [1]}
    )

    with pytest.raises(UnsupportedModel, match="reads logits:0, which is not among its tensors: maps:0"):
        build(dataclasses.replace(split, head=strange), name="m", fmt=BRAINWAVE)
    with pytest.raises(UnsupportedModel, match="no part of the model gives answer:0"):
        build(dataclasses.replace(split, head=None), name="m", fmt=BRAINWAVE)


def test_an_input_that_leads_nowhere_is_refused(split: SplitModel) -> None:
    """Without a front the wire has to carry what the network reads."""
    with pytest.raises(UnsupportedModel, match="the wire carries given:0, and the FPGA's part reads image:0"):
        build(dataclasses.replace(split, front=None), name="m", fmt=BRAINWAVE)


def test_weights_that_are_no_numbers_are_refused(split: SplitModel) -> None:
    """The message names model and step."""
    arrays = split.parameters["net/dense"]
    broken = StepArrays(weights=np.full_like(arrays.weights, np.inf), bias=arrays.bias)

    with pytest.raises(InvalidWeights, match="m: the weights can't be used: net/dense: "):
        build(dataclasses.replace(split, parameters={**split.parameters, "net/dense": broken}), name="m", fmt=BRAINWAVE)
