"""The five networks against TensorFlow's own operators (data/make_fixtures.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from accelform.conversion.fold import fold_variables
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.weights.seeded import seeded_weights
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import load_profile

WIDTH_DIVISOR = 32
EVERY = 101


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_computes_what_tensorflow_does(name: str) -> None:
    """Topology, paddings, names, epsilons and the order of outputs are the originals', written down a second time."""
    expected = np.load(Path(__file__).parent / "data" / "tensorflow.npz")[name]
    family = FAMILIES[name]
    network = family.network(width_divisor=WIDTH_DIVISOR)
    factor = family.preprocess.scaling_factor
    variables = seeded_weights(network, seed=11, scaling_factor=factor)
    image = np.random.RandomState(7).uniform(-120, 120, (family.image_size, family.image_size, 3)) * factor

    results = Reference(network, fold_variables(network, variables), load_profile("float32")).run(
        image.astype(np.float32)
    )

    found = np.concatenate([values.ravel() for values in results.values()])
    found = found[::EVERY] if len(results) > 1 else found
    assert found.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(expected.std()) + 1e-4)
