"""From a specification's sections to checked arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accelform.errors import InvalidWeights, ModelSourceMissing, WeightsUnreadable
from accelform.featurizers.resnet_v1 import resnet_v1_50
from accelform.featurizers.spec import FileClassifier, FileWeights, SeededClassifier, SeededWeights
from accelform.featurizers.weights import load, load_classifier
from accelform.featurizers.weights.seeded import seeded_classifier, seeded_weights

PLAN = resnet_v1_50(width_divisor=32)
BODY = seeded_weights(PLAN, seed=0)
HEAD = seeded_classifier(PLAN, classes=4, seed=0)


def test_a_file_gives_the_featurizer_and_the_classifier_it_holds(tmp_path: Path) -> None:
    """Featurizer arrays come in the plan's order, a classifier in the same file last; each can also stand alone."""
    np.savez(tmp_path / "both.npz", **HEAD, **BODY)
    np.savez(tmp_path / "body.npz", **BODY)
    np.savez(tmp_path / "head.npz", **HEAD)
    both = load(FileWeights(path="both.npz", width_multiplier=1 / 32), folder=tmp_path, plan=PLAN)

    assert list(both) == [*BODY, *HEAD]
    assert list(load(FileWeights(path="body.npz"), folder=tmp_path, plan=PLAN)) == list(BODY)
    for file in ("both.npz", "head.npz"):
        head = load_classifier(FileClassifier(path=file), folder=tmp_path, plan=PLAN)
        assert list(head) == list(HEAD)
        for name, array in head.items():
            np.testing.assert_array_equal(array, HEAD[name])


def test_the_wrong_width_is_named(tmp_path: Path) -> None:
    """A narrow file for the full network: every shape that doesn't fit, and the setting to look at."""
    np.savez(tmp_path / "body.npz", **BODY)
    with pytest.raises(InvalidWeights, match=r"265 problem.*Check width_multiplier"):
        load(FileWeights(path="body.npz"), folder=tmp_path, plan=resnet_v1_50())


def test_half_a_classifier_is_a_problem(tmp_path: Path) -> None:
    """Weights without biases, or biases of another length, are refused."""
    weights_name, biases_name = HEAD
    np.savez(tmp_path / "weights.npz", **{weights_name: HEAD[weights_name]})
    np.savez(tmp_path / "long.npz", **{weights_name: HEAD[weights_name], biases_name: np.zeros(5, np.float32)})
    with pytest.raises(InvalidWeights, match="biases is missing"):
        load_classifier(FileClassifier(path="weights.npz"), folder=tmp_path, plan=PLAN)
    with pytest.raises(InvalidWeights, match=r"weights has shape \[1, 1, 64, 4\]; expected \[1, 1, 64, 5\]"):
        load_classifier(FileClassifier(path="long.npz"), folder=tmp_path, plan=PLAN)
    np.savez(tmp_path / "body.npz", **BODY, **{biases_name: HEAD[biases_name]})
    with pytest.raises(InvalidWeights, match="logits/weights is missing"):
        load(FileWeights(path="body.npz"), folder=tmp_path, plan=PLAN)


def test_seeded_sections_need_no_file(tmp_path: Path) -> None:
    """The seed decides; the folder may be empty."""
    weights = load(SeededWeights(seed=0), folder=tmp_path, plan=PLAN)
    head = load_classifier(SeededClassifier(classes=4, seed=0), folder=tmp_path, plan=PLAN)

    for name, array in (BODY | HEAD).items():
        np.testing.assert_array_equal((weights | head)[name], array)


def test_files_stay_inside_the_folder(tmp_path: Path) -> None:
    """A missing file, a folder, a way out and a link out are refused, each by name."""
    folder = tmp_path / "model"
    (folder / "folder.npz").mkdir(parents=True)
    np.savez(tmp_path / "outside.npz", **BODY)
    (folder / "link.npz").symlink_to(tmp_path / "outside.npz")
    for name, problem in {
        "missing.npz": "missing or no file",
        "folder.npz": "missing or no file",
        "../outside.npz": "leads outside",
        "link.npz": "leads outside",
    }.items():
        with pytest.raises(ModelSourceMissing, match=problem):
            load(FileWeights(path=name), folder=folder, plan=PLAN)


def test_unknown_formats_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    """A pickle or a torch file is never opened."""
    (tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsUnreadable, match=r"its ending is \.pt; known: \.npz, \.h5"):
        load(FileWeights(path="model.pt"), folder=tmp_path, plan=PLAN)


def test_importing_the_dispatcher_stays_light() -> None:
    """The Pulumi plug-in imports it at start, so the heavy packages wait until arrays are read."""
    program = (
        "import sys, accelform.featurizers.weights;"
        "print([name for name in ('numpy', 'h5py', 'onnx', 'google.protobuf') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"
