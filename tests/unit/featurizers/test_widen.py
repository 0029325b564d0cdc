"""Narrow networks made wide: the same function, real work."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accelform.conversion.fold import fold_variables
from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.weights.seeded import seeded_classifier, seeded_weights
from accelform.featurizers.widen import widen
from accelform_runtime.network.network import Network
from accelform_runtime.network.reference import Reference
from accelform_runtime.network.steps import Add, MaxPool, Window
from accelform_runtime.numerics import load_profile

FLOAT32 = load_profile("float32")
BY_NAME = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def run(network: Network, variables: dict[str, np.ndarray], image: np.ndarray) -> Reference:
    reference = Reference(network, fold_variables(network, variables), FLOAT32)
    reference.run(image)
    return reference


@BY_NAME
@pytest.mark.parametrize("factor", [2, 4])
def test_widening_keeps_the_function(family: Family, factor: int) -> None:
    """Every output of the wide network holds the narrow one's values, and the classifier gives the same scores."""
    divisor = family.max_width_divisor
    narrow, wide = family.network(width_divisor=divisor), family.network(width_divisor=divisor // factor)
    variables = seeded_weights(narrow, seed=3, scaling_factor=family.preprocess.scaling_factor)
    names = tuple(family.classifier_variables(1))
    variables |= seeded_classifier(family.classifier_variables(5, width_divisor=divisor), seed=0)
    image = np.random.default_rng(0).normal(0, 60, (family.image_size,) * 2 + (3,)).astype(np.float32)

    widened = widen(variables, narrow, wide, classifier=names)

    shapes = family.classifier_variables(5, width_divisor=wide.width_divisor)
    assert {name: array.shape for name, array in widened.items()} == wide.variables() | shapes
    assert all(array.dtype == np.float32 for array in widened.values())
    before, after = run(narrow, variables, image), run(wide, widened, image)
    for output in narrow.outputs:
        small, large = before.outputs[output.value], after.outputs[output.value]
        assert small.std() > 0.01
        copies = large.shape[2] // small.shape[2]
        assert copies == (1 if family.feature_length is None else factor)
        if family.name == "densenet121":
            small, large = np.sort(np.repeat(small, copies)), np.sort(large.ravel())
        else:
            small = np.tile(small, copies)
        np.testing.assert_allclose(large, small, rtol=1e-3, atol=1e-4)
        if names:
            logits = [
                reference.outputs[output.value][0, 0] @ arrays[names[0]][0, 0]
                for reference, arrays in ((before, variables), (after, widened))
            ]
            np.testing.assert_allclose(logits[1], logits[0], rtol=1e-3, atol=1e-4)


@BY_NAME
def test_widened_weights_are_all_work(family: Family) -> None:
    """No weight of the wide network is zero: the FPGA's work is real."""
    narrow, wide = family.network(width_divisor=32), family.network(width_divisor=8)
    variables = {name: np.full(shape, 0.5, np.float32) for name, shape in narrow.variables().items()}

    widened = widen(variables, narrow, wide)

    assert all(array.all() for array in widened.values())
    first, second = wide.convolutions[:2]
    assert widened[first.weights].max() == 0.5
    assert widened[second.weights].max() == 0.125


def test_a_power_of_four_widens_a_normalisation_exactly() -> None:
    """Twice the root of a sum that is four times as large."""
    family = FAMILIES["ssd_vgg"]
    narrow, wide = family.network(width_divisor=64), family.network(width_divisor=16)
    variables = {name: np.full(shape, 20.0, np.float32) for name, shape in narrow.variables().items()}

    gamma = widen(variables, narrow, wide)["ssd_300_vgg/block4_box/L2Normalization/gamma"]

    assert (gamma == 40.0).all()
    assert gamma.shape == (32,)


def test_full_width_stays_as_it_is() -> None:
    """A ratio of one returns the same arrays."""
    network = FAMILIES["resnet50"].network(width_divisor=8)
    variables = {name: np.ones(shape, np.float32) for name, shape in network.variables().items()}

    assert widen(variables, network, network) == variables


@pytest.mark.parametrize(("narrow", "wide"), [(1, 8), (8, 16)])
def test_impossible_ratios_are_refused(narrow: int, wide: int) -> None:
    """Widening goes up, by a power of two."""
    family = FAMILIES["resnet50"]
    with pytest.raises(ValueError, match="power of two"):
        widen({}, family.network(width_divisor=narrow), family.network(width_divisor=wide))


def test_another_network_is_refused() -> None:
    """Only the width may differ."""
    with pytest.raises(ValueError, match="can't widen resnet_v1_50 into resnet_v1_152: the layers differ"):
        widen({}, FAMILIES["resnet50"].network(width_divisor=8), FAMILIES["resnet152"].network())


def test_maps_whose_copies_lie_differently_are_not_added() -> None:
    """Behind a concat copies lie in groups; adding those to copies in turn would mix channels up."""
    family = FAMILIES["densenet121"]
    networks = []
    for divisor in (32, 16):
        network = family.network(width_divisor=divisor)
        first = next(
            index for index, step in enumerate(network.steps) if step.name.endswith("transition_block1/blk/Conv")
        )
        concat = network.steps[first - 2]
        widening = next(conv for conv in network.convolutions if conv.name == "densenet121/transition_block1/blk/Conv")
        conv = dataclasses.replace(widening, name="wide", out_channels=network.maps[concat.name].channels)
        pool = MaxPool(name="same", source=concat.name, window=Window(kernel=(1, 1)))
        steps = (*network.steps[:first], conv, pool, Add(name="sum", left="wide", right="same"))
        networks.append(dataclasses.replace(network, steps=steps, outputs=()))
    variables = {name: np.ones(shape, np.float32) for name, shape in networks[0].variables().items()}

    with pytest.raises(ValueError, match="can't widen sum: it adds maps whose copies lie in another order"):
        widen(variables, *networks)
