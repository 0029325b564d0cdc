"""Models on Accelform's layers that Keras saves, loads and trains on (saving.py runs where TensorFlow is)."""

from __future__ import annotations

import numpy as np
from tests.contract.training.conftest import Check

from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import FileClassifier, FileWeights
from accelform.featurizers.weights import load, load_classifier

NARROW = 64
RESNET = FAMILIES["resnet50"]


def test_keras_checkpoints_are_models_and_weights(check: Check) -> None:
    """Whole or weights alone: Keras loads them again with the same answers, and a specification takes them."""
    found = check("checkpoints", "saving.py")
    folder = found["folder"]

    assert (found["same"], found["trained_again"], found["frozen"]) == (True, 1, 0)
    assert found["whole"] == [267, 267, 3]
    with np.load(folder / "arrays.npz") as file:
        arrays = {name.replace("|", "/"): file[name] for name in file.files}
    for name in ("best.keras", "best.weights.h5", "best.h5"):
        told: list[str] = []
        weights = FileWeights(path=name, width_multiplier=1 / NARROW)
        read = load(weights, folder=folder, family=RESNET, progress=told.append)
        assert set(read) == set(arrays), name
        assert all(np.array_equal(read[key], array) for key, array in arrays.items()), name
        head = load_classifier(FileClassifier(path=name), folder=folder, family=RESNET, width_divisor=NARROW)
        assert [array.shape for array in head.values()] == [(1, 1, 32, 3), (3,)]
        assert told == []


def test_unfreezing_counts_from_the_next_compile_and_that_is_said(check: Check) -> None:
    """A compiled training step never asks again, so whoever changes it behind its back is told what to do."""
    found = check("unfreezing", "saving.py")

    before, freezing, unfreezing, unchanged, whole_model = found["told"]
    assert before == unchanged == []
    assert (len(freezing), len(unfreezing)) == (1, 1)
    assert freezing[0].startswith("net was frozen after a model had been trained with it")
    assert unfreezing[0].startswith("net was unfrozen after a model had been trained with it")
    assert "model.compile(...) again" in unfreezing[0]
    assert "was frozen after a model had been trained" in whole_model[0]
    first, after_freezing, frozen, not_compiled, compiled_again = found["moved"]
    assert first == after_freezing == compiled_again > 0
    assert (frozen, not_compiled) == (0, 0)
