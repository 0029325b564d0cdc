"""From a specification's sections to checked arrays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accelform.errors import InvalidWeights, ModelSourceMissing, WeightsUnreadable
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.spec import FileClassifier, FileWeights, SeededClassifier, SeededWeights
from accelform.featurizers.weights import load, load_classifier
from accelform.featurizers.weights.seeded import seeded_classifier, seeded_weights

RESNET = FAMILIES["resnet50"]
BODY = seeded_weights(RESNET.network(width_divisor=32), seed=0)
HEAD = seeded_classifier(RESNET.classifier_variables(4, width_divisor=32), seed=0)


def narrow(path: str) -> FileWeights:
    return FileWeights(path=path, width_multiplier=1 / 32)


def test_a_file_gives_the_featurizer_and_the_classifier_it_holds(tmp_path: Path) -> None:
    """Featurizer arrays come in the network's order, a classifier in the same file last; each can also stand alone."""
    np.savez(tmp_path / "both.npz", allow_pickle=False, **HEAD, **BODY)
    np.savez(tmp_path / "body.npz", allow_pickle=False, **BODY)
    np.savez(tmp_path / "head.npz", allow_pickle=False, **HEAD)
    both = load(narrow("both.npz"), folder=tmp_path, family=RESNET)

    assert list(both) == [*BODY, *HEAD]
    assert list(load(narrow("body.npz"), folder=tmp_path, family=RESNET)) == list(BODY)
    for file in ("both.npz", "head.npz"):
        head = load_classifier(FileClassifier(path=file), folder=tmp_path, family=RESNET, width_divisor=32)
        assert list(head) == list(HEAD)
        for name, array in head.items():
            np.testing.assert_array_equal(array, HEAD[name])


def test_the_wrong_width_is_named(tmp_path: Path) -> None:
    """A narrow file for the full network: every shape that doesn't fit, and the setting to look at."""
    np.savez(tmp_path / "body.npz", allow_pickle=False, **BODY)
    with pytest.raises(InvalidWeights, match=r"265 problem.*Check width_multiplier"):
        load(FileWeights(path="body.npz"), folder=tmp_path, family=RESNET)


def test_half_a_classifier_is_a_problem(tmp_path: Path) -> None:
    """Weights without biases, or biases of another length, are refused."""
    weights_name, biases_name = HEAD
    np.savez(tmp_path / "weights.npz", allow_pickle=False, **{weights_name: HEAD[weights_name]})
    np.savez(
        tmp_path / "long.npz",
        allow_pickle=False,
        **{weights_name: HEAD[weights_name], biases_name: np.zeros(5, np.float32)},
    )
    with pytest.raises(InvalidWeights, match="biases is missing"):
        load_classifier(FileClassifier(path="weights.npz"), folder=tmp_path, family=RESNET, width_divisor=32)
    with pytest.raises(InvalidWeights, match=r"weights has shape \[1, 1, 64, 4\]; expected \[1, 1, 64, 5\]"):
        load_classifier(FileClassifier(path="long.npz"), folder=tmp_path, family=RESNET, width_divisor=32)
    np.savez(tmp_path / "body.npz", allow_pickle=False, **BODY, **{biases_name: HEAD[biases_name]})
    with pytest.raises(InvalidWeights, match="logits/weights is missing"):
        load(narrow("body.npz"), folder=tmp_path, family=RESNET)


def test_seeded_sections_need_no_file(tmp_path: Path) -> None:
    """The seed decides; the folder may be empty."""
    weights = load(SeededWeights(seed=0, width_divisor=32), folder=tmp_path, family=RESNET)
    head = load_classifier(SeededClassifier(classes=4, seed=0), folder=tmp_path, family=RESNET, width_divisor=32)

    for name, array in (BODY | HEAD).items():
        np.testing.assert_array_equal((weights | head)[name], array)


def test_files_stay_inside_the_folder(tmp_path: Path) -> None:
    """A missing file, a folder, a way out and a link out are refused, each by name."""
    folder = tmp_path / "model"
    (folder / "folder.npz").mkdir(parents=True)
    np.savez(tmp_path / "outside.npz", allow_pickle=False, **BODY)
    (folder / "link.npz").symlink_to(tmp_path / "outside.npz")
    for name, problem in {
        "missing.npz": "missing or no file",
        "folder.npz": "missing or no file",
        "../outside.npz": "leads outside",
        "link.npz": "leads outside",
    }.items():
        with pytest.raises(ModelSourceMissing, match=problem):
            load(FileWeights(path=name), folder=folder, family=RESNET)


def test_unknown_formats_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    """A pickle or a torch file is never opened."""
    (tmp_path / "model.pt").write_bytes(b"\x80\x04.")
    with pytest.raises(WeightsUnreadable, match=r"model\.pt can't be read as weights: it is PyTorch's own file"):
        load(FileWeights(path="model.pt"), folder=tmp_path, family=RESNET)


def test_importing_the_dispatcher_stays_light() -> None:
    """The Pulumi plug-in imports it at start, so the heavy packages wait until arrays are read."""
    program = (
        "import sys, accelform.featurizers.weights;"
        "print([name for name in ('numpy', 'h5py', 'onnx', 'google.protobuf') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_saves_and_loads(name: str, tmp_path: Path) -> None:
    """What a seeded network has can be written, and is read back under the same names, the classifier too."""
    family = FAMILIES[name]
    variables = load(SeededWeights(seed=1, width_divisor=32), folder=tmp_path, family=family)
    head = seeded_classifier(family.classifier_variables(4, width_divisor=32), seed=1)
    np.savez(tmp_path / "all.npz", allow_pickle=False, **variables, **head)

    loaded = load(narrow("all.npz"), folder=tmp_path, family=family)

    assert list(loaded) == [*variables, *head]
    for key, array in (variables | head).items():
        np.testing.assert_array_equal(loaded[key], array)


def test_a_detector_of_other_classes_is_named(tmp_path: Path) -> None:
    """Scores of four kinds don't fit a detector of three; the message says where to look."""
    family = FAMILIES["ssd_vgg"]
    network = family.network(width_divisor=64, classes=4)
    np.savez(
        tmp_path / "ssd.npz",
        allow_pickle=False,
        **{key: np.ones(shape, np.float32) for key, shape in network.variables().items()},
    )
    weights = FileWeights(path="ssd.npz", width_multiplier=1 / 64)

    assert len(load(weights, folder=tmp_path, family=family, classes=4)) == 71
    with pytest.raises(
        InvalidWeights, match=r"(?s)12 problem.*detector's classes.*block4_box/conv_cls/weights has shape"
    ):
        load(weights, folder=tmp_path, family=family, classes=3)


def test_another_familys_file_is_named(tmp_path: Path) -> None:
    """The message shows what a name should look like."""
    np.savez(tmp_path / "body.npz", allow_pickle=False, **BODY)
    with pytest.raises(InvalidWeights, match=r"e\.g\. vgg_16/conv1/conv1_1/weights"):
        load(narrow("body.npz"), folder=tmp_path, family=FAMILIES["vgg16"])
