"""Whole families, as frameworks write them: recognised, cut at the features, and numerically the same network."""

from __future__ import annotations

import time

import numpy as np
import onnx
import pytest
from tests.support.exporting import STYLES, TORCH, export, plain_outputs, random_variables, softmax_head

from accelform.featurizers.families import FAMILIES
from accelform.topology import split_onnx

from .running import assert_close, run_split, run_whole

NARROW = 32


def image_for(model: onnx.ModelProto, seed: int = 0) -> np.ndarray:
    shape = [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def exported(family: str, style: str, *, width_divisor: int = NARROW) -> onnx.ModelProto:
    network = FAMILIES[family].network(width_divisor=width_divisor)
    head = plain_outputs if family == "ssd_vgg" else softmax_head()
    return export(network, random_variables(network), STYLES[style], head)


@pytest.mark.parametrize(
    ("family", "style"),
    [
        (family, style)
        for family in FAMILIES
        for style in STYLES
        if family != "resnet152" or style in ("torch", "keras")
    ],
)
def test_is_recognised_and_computes_the_same(family: str, style: str) -> None:
    model = exported(family, style)
    split = split_onnx(model)

    expected = FAMILIES[family].network(width_divisor=NARROW)
    assert split.family == family
    assert [step.name for step in split.network.steps] == [step.name for step in expected.steps]
    assert split.network.width_divisor == NARROW
    assert "no bitstream" not in split.mismatch
    assert f"divided by {NARROW}" in split.mismatch
    assert tuple(output.name for output in split.outputs) == tuple(value.name for value in model.graph.output)
    assert set(split.parameters) == {
        step.name for step in expected.steps if type(step).__name__ in ("Convolution", "Affine", "Normalise")
    }
    image = image_for(model)
    assert_close(run_whole(model, image), run_split(split, image))


def test_the_parts_are_where_the_family_has_them() -> None:
    split = split_onnx(exported("resnet50", "torch"))

    assert [output.tensor for output in split.network.outputs] == ["brainwave_target_node_1_Version_0.1:0"]
    assert split.network.outputs[0].shape == (1, 1, 2048 // NARROW)
    assert split.image_tensor == "InputImage:0"
    assert split.front is not None
    assert [value.name for value in split.front.input] == ["pixels:0"]
    assert [value.name for value in split.front.output] == ["InputImage:0"]
    assert split.head is not None
    assert [value.name for value in split.head.input] == ["brainwave_target_node_1_Version_0.1:0"]
    assert {node.op_type for node in split.head.node} == {"Reshape", "Gemm", "Softmax", "Identity"}
    assert [(info.name, info.alias, info.dtype, info.shape) for info in split.inputs] == [
        ("pixels:0", "images", "DT_FLOAT", (-1, 3, 224, 224))
    ]
    assert [(info.name, info.alias, info.shape) for info in split.outputs] == [
        ("scores:0", "out_0", (-1, 5)),
        ("logits:0", "out_1", (-1, 5)),
    ]


def test_channels_last_needs_no_front() -> None:
    split = split_onnx(exported("resnet50", "keras"))

    assert split.front is None
    assert split.image_tensor == "pixels:0"


@pytest.mark.parametrize("style", ["torch", "keras"])
def test_twelve_tensors_of_a_detector_need_no_head(style: str) -> None:
    split = split_onnx(exported("ssd_vgg", style))

    names = FAMILIES["ssd_vgg"].feature_tensors
    assert split.head is None
    assert tuple(output.tensor for output in split.network.outputs) == names
    assert [output.alias for output in split.outputs] == [f"out_{index}" for index in range(12)]
    assert split.outputs[0].shape == (-1, 37, 37, 4, 21)


def test_features_alone_are_a_family_too() -> None:
    """A featurizer without a classifier, under the SDK's names."""
    network = FAMILIES["resnet50"].network(width_divisor=NARROW)
    model = export(network, random_variables(network), STYLES["keras"], image="InputImage:0")
    split = split_onnx(model)

    assert split.family == "resnet50"
    assert (split.front, split.head) == (None, None)
    assert (split.image_tensor, split.network.outputs) == ("InputImage:0", network.outputs)
    image = image_for(model)
    assert_close(run_whole(model, image), run_split(split, image))


def test_full_resnet_50() -> None:
    """Full width has a bitstream: nothing is left to say against it."""
    model = exported("resnet50", "torch_folded", width_divisor=1)
    split = split_onnx(model)

    assert (split.family, split.mismatch) == ("resnet50", "")
    image = image_for(model)
    assert_close(run_whole(model, image), run_split(split, image), tolerance=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_topology_alone_is_quick(family: str) -> None:
    """Full size: what a preview does. Nothing is left to say against a bitstream, and no weights are read; the bound is
    wide: it takes a fifth of a second on an idle core."""
    network = FAMILIES[family].network()
    zeros = {name: np.zeros(shape, np.float32) for name, shape in network.variables().items()}
    head = plain_outputs if FAMILIES[family].classifier is None else softmax_head()
    model = export(network, zeros, TORCH, head, check=False)

    start = time.process_time()
    split = split_onnx(model, with_weights=False)
    assert time.process_time() - start < 1.0
    assert (split.family, split.mismatch) == (family, "")
    assert not split.parameters


def test_topology_is_the_same_without_weights() -> None:
    for family, style in (("densenet121", "tensorflow"), ("ssd_vgg", "torch")):
        model = exported(family, style)
        full, skeleton = split_onnx(model), split_onnx(model, with_weights=False)
        assert skeleton.network == full.network
        assert (skeleton.inputs, skeleton.outputs, skeleton.family) == (full.inputs, full.outputs, full.family)
