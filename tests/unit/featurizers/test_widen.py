from __future__ import annotations

import numpy as np
import pytest

from accelform.conversion.fold import fold_and_quantise
from accelform.conversion.reference import ReferenceForward, classify
from accelform.featurizers.resnet_v1 import ResNetPlan, resnet_v1_50
from accelform.featurizers.spec import SeededClassifier, SeededWeights
from accelform.featurizers.weights import load, load_classifier
from accelform.featurizers.widen import widen
from accelform_runtime.numerics import load_profile

FLOAT32 = load_profile("float32")


def narrow_variables(plan: ResNetPlan, tmp_path: object) -> dict[str, np.ndarray]:
    folder = tmp_path  # nothing is read from it
    variables = load(SeededWeights(seed=3), folder=folder, plan=plan)  # type: ignore[arg-type]
    return variables | load_classifier(SeededClassifier(classes=5), folder=folder, plan=plan)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [2, 8])
def test_widening_keeps_the_function(factor: int, tmp_path: object) -> None:
    """Wide feature c is narrow feature c mod n, and the classifier gives the same probabilities."""
    narrow = resnet_v1_50(width_divisor=factor * 4, image_size=64)
    wide = resnet_v1_50(width_divisor=4, image_size=64)
    variables = narrow_variables(narrow, tmp_path)
    image = np.random.default_rng(0).normal(0, 60, (64, 64, 3)).astype(np.float32)

    widened = widen(variables, narrow, wide)

    assert {name: array.shape for name, array in widened.items()} == wide.variables() | wide.classifier_variables(5)
    features = ReferenceForward(narrow, fold_and_quantise(variables, narrow, FLOAT32), FLOAT32).run(image)
    wide_features = ReferenceForward(wide, fold_and_quantise(widened, wide, FLOAT32), FLOAT32).run(image)
    assert features.std() > 0.1
    np.testing.assert_allclose(wide_features, np.tile(features, factor), rtol=1e-4, atol=1e-5)
    head = [name for name in variables if "/logits/" in name]
    np.testing.assert_allclose(
        classify(wide_features, *(widened[name] for name in head)),
        classify(features, *(variables[name] for name in head)),
        rtol=1e-4,
    )


def test_widened_weights_are_all_work() -> None:
    """No weight of the wide network is zero: the FPGA's work is real."""
    narrow = resnet_v1_50(width_divisor=8)
    variables = {name: np.full(shape, 0.5, np.float32) for name, shape in narrow.variables().items()}

    widened = widen(variables, narrow, resnet_v1_50())

    assert all(array.all() for array in widened.values())
    assert widened["resnet_v1_50/conv1/weights"].max() == 0.5
    assert widened["resnet_v1_50/block1/unit_1/bottleneck_v1/conv2/weights"].max() == 0.0625


def test_full_width_stays_as_it_is() -> None:
    """A ratio of one returns the same arrays."""
    plan = resnet_v1_50(width_divisor=8)
    variables = {name: np.ones(shape, np.float32) for name, shape in plan.variables().items()}

    assert widen(variables, plan, plan) == variables


@pytest.mark.parametrize(("narrow", "wide"), [(1, 8), (8, 3)])
def test_impossible_ratios_are_refused(narrow: int, wide: int) -> None:
    """Widening goes up, by a power of two."""
    with pytest.raises(ValueError, match="power of two"):
        widen({}, resnet_v1_50(width_divisor=narrow), resnet_v1_50(width_divisor=wide))
