"""The whole featurizer, graph against definition, at a size where a run takes a second."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from accelform.conversion.block_floating_point import functions
from accelform.conversion.fidelity import compare, open_session
from accelform.conversion.fold import FoldedConvolution, fold, fold_and_quantise
from accelform.conversion.graph import FLOAT, GraphWriter, tensor_value
from accelform.conversion.reference import ReferenceForward
from accelform.conversion.resnet import ResNetWriter
from accelform.featurizers.resnet_v1 import BATCH_NORM_EPSILON, ResNetPlan, resnet_v1_50
from accelform.featurizers.spec import SeededWeights
from accelform.featurizers.weights import load
from accelform_runtime.errors import NotFinite
from accelform_runtime.numerics import NumberFormat, load_profile

BRAINWAVE = load_profile("bw-a10-cnn")
FLOAT32 = load_profile("float32")
SIZE = 64


@pytest.fixture(scope="module")
def plan() -> ResNetPlan:
    """Full width, so that blocks are full; small maps."""
    return resnet_v1_50(image_size=SIZE)


@pytest.fixture(scope="module")
def variables(plan: ResNetPlan, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return load(SeededWeights(seed=1), folder=Path(tmp_path_factory.mktemp("none")), plan=plan)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    random = np.random.default_rng(5)
    coarse = random.uniform(-120, 140, (9, 9, 3))
    return np.kron(coarse, np.ones((8, 8, 1)))[:SIZE, :SIZE].astype(np.float32) + random.normal(0, 8, (SIZE, SIZE, 3))


def served(
    plan: ResNetPlan, layers: Mapping[str, FoldedConvolution], fmt: NumberFormat, image: np.ndarray, threads: int = 1
) -> dict[str, np.ndarray]:
    """Every layer's output of the graph, as `ReferenceForward` shapes them."""
    writer = GraphWriter()
    featurizer = ResNetWriter(writer, plan, layers, fmt)
    featurizer.write("image", name="features")
    values = list(featurizer.layer_values.values())
    model = writer.model(
        name="featurizer",
        inputs=[tensor_value("image", FLOAT, [1, SIZE, SIZE, 3])],
        outputs=[helper.make_empty_tensor_value_info(value) for value in values],
        functions=functions(fmt),
        documentation="",
    )
    outputs = open_session(model, threads=threads).run(values, {"image": image[np.newaxis].astype(np.float32)})
    return {
        layer: output.reshape(-1) if layer == "features" else output[0].transpose(1, 2, 0)
        for layer, output in zip(featurizer.layer_values, outputs, strict=True)
    }


@pytest.mark.parametrize(("mantissa_bits", "threads"), [(5, 1), (5, 2), (3, 1)])
def test_every_layer_equals_the_definition(
    plan: ResNetPlan, variables: dict[str, np.ndarray], image: np.ndarray, mantissa_bits: int, threads: int
) -> None:
    """All 53 convolutions, the pool, 16 units and the mean: not a bit differs, with one thread or two."""
    fmt = dataclasses.replace(BRAINWAVE, mantissa_bits=mantissa_bits)
    layers = fold_and_quantise(variables, plan, fmt)
    reference = ReferenceForward(plan, layers, fmt)
    reference.run(image.astype(np.float32))

    found = served(plan, layers, fmt, image, threads)

    assert len(found) == 53 + 1 + 16 + 1
    assert found.keys() == reference.outputs.keys()
    comparisons = [compare(name, found[name], reference.outputs[name]) for name in found]
    assert [row for row in comparisons if row.different] == []
    assert sum(row.values for row in comparisons) > 900_000
    assert reference.outputs["features"].std() > 0.01


def test_order_of_addition_is_proven_not_to_matter(
    plan: ResNetPlan, variables: dict[str, np.ndarray], image: np.ndarray
) -> None:
    """The certificate covers every sum, so equality doesn't hang on one runtime's way to add."""
    reference = ReferenceForward(plan, fold_and_quantise(variables, plan, BRAINWAVE), BRAINWAVE, certify=True)
    reference.run(image.astype(np.float32))

    assert len(reference.certificates) == 53
    assert [name for name, certificate in reference.certificates.items() if not certificate.complete] == []


def test_float32_follows_the_reference_within_rounding(
    plan: ResNetPlan, variables: dict[str, np.ndarray], image: np.ndarray
) -> None:
    """Without quantisers the graph is the plain network, up to float32's own order of addition."""
    layers = fold_and_quantise(variables, plan, FLOAT32)
    reference = ReferenceForward(plan, layers, FLOAT32)
    reference.run(image.astype(np.float32))

    found = served(plan, layers, FLOAT32, image)

    for name, expected in reference.outputs.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_formats_differ(plan: ResNetPlan, variables: dict[str, np.ndarray], image: np.ndarray) -> None:
    """Quantising changes the features: the format is not silently left out."""
    exact, narrow = (
        ReferenceForward(plan, fold_and_quantise(variables, plan, fmt), fmt).run(image.astype(np.float32))
        for fmt in (FLOAT32, BRAINWAVE)
    )

    assert not np.array_equal(exact, narrow)


def test_folding_batch_norm(plan: ResNetPlan, variables: dict[str, np.ndarray]) -> None:
    """gamma (Wx - mean) / sqrt(variance + epsilon) + beta, in one multiplication and one addition."""
    conv = plan.units[0].conv1
    folded = fold(variables, conv)
    gamma, beta, mean, variance = (
        variables[f"{conv.name}/BatchNorm/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    x = np.random.default_rng(0).normal(size=conv.in_channels)

    normal = (x @ variables[f"{conv.name}/weights"][0, 0] - mean) / np.sqrt(variance + BATCH_NORM_EPSILON)

    np.testing.assert_allclose(x @ folded.weights[0, 0] + folded.bias, gamma * normal + beta, rtol=1e-5, atol=1e-6)


def test_weights_that_overflow_when_folded_are_refused(plan: ResNetPlan, variables: dict[str, np.ndarray]) -> None:
    """A fold beyond float32 never becomes a silent infinity."""
    scope = f"{plan.stem.name}/BatchNorm"
    huge, zero = np.full(64, 3e38, np.float32), np.zeros(64, np.float32)

    for part in ({f"{scope}/gamma": huge, f"{scope}/moving_variance": zero}, {f"{scope}/moving_mean": huge}):
        with pytest.raises(NotFinite, match="resnet_v1_50/conv1"):
            fold_and_quantise(variables | part | {f"{scope}/gamma": huge}, plan, FLOAT32)


def test_shared_inputs_are_quantised_once(plan: ResNetPlan, variables: dict[str, np.ndarray]) -> None:
    """49 quantisers serve 53 convolutions: a unit's shortcut and first convolution share theirs."""
    writer = GraphWriter()
    ResNetWriter(writer, plan, fold_and_quantise(variables, plan, BRAINWAVE), BRAINWAVE).write("image", name="y")
    model = writer.model(name="m", inputs=[], outputs=[], functions=functions(BRAINWAVE), documentation="")

    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Conv") == 53
    assert kinds.count("BlockFloatingPoint") == 1
    assert kinds.count("BlockFloatingPointNonNegative") == 48
    assert isinstance(model, onnx.ModelProto)
