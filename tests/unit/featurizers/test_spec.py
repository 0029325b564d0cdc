from __future__ import annotations

import pytest

from accelform.errors import InvalidFeaturizerSpec, NotAModel
from accelform.featurizers.spec import (
    FeaturizerSpec,
    FileClassifier,
    FileWeights,
    ImagenetWeights,
    Preprocess,
    SeededClassifier,
    SeededWeights,
    parse_spec,
)

FULL = """
featurizer: resnet50
weights: {source: file, path: weights/featurizer.npz, width_multiplier: 0.125}
classifier: {path: classifier.npz, labels: labels.txt}
preprocess: {order: BGR, scaling_factor: 0.017}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidFeaturizerSpec) as caught:
        parse_spec(text, origin="model.yaml")
    first, *rest = str(caught.value).split("\n  - ")
    assert first.startswith(f"model.yaml has {len(rest)} problem(s)")
    return rest


def test_everything_given() -> None:
    """All sections are read into frozen settings."""
    spec = parse_spec(FULL, origin="model.yaml")

    assert spec == FeaturizerSpec(
        featurizer="resnet50",
        weights=FileWeights(path="weights/featurizer.npz", width_multiplier=0.125),
        classifier=FileClassifier(path="classifier.npz", labels="labels.txt"),
        preprocess=Preprocess(order="BGR", scaling_factor=0.017),
    )
    assert spec.weights.width_divisor == 8
    assert spec.paths == ("weights/featurizer.npz", "classifier.npz", "labels.txt")


@pytest.mark.parametrize(
    ("text", "weights", "classifier"),
    [
        ("weights: {source: imagenet}", ImagenetWeights(), None),
        ("weights: {source: seeded}", SeededWeights(seed=0), None),
        (
            "weights: {source: seeded, seed: 7}\nclassifier: {classes: 10, seed: 2}",
            SeededWeights(seed=7),
            SeededClassifier(classes=10, seed=2),
        ),
        ("weights: {source: file, path: a.npz}", FileWeights(path="a.npz", width_multiplier=1.0), None),
    ],
)
def test_defaults(text: str, weights: object, classifier: object) -> None:
    """What isn't given has Azure ML's default: RGB, factor 1, full width."""
    spec = parse_spec(f"featurizer: resnet50\n{text}", origin="model.yaml")

    assert spec == FeaturizerSpec(featurizer="resnet50", weights=weights, classifier=classifier)  # type: ignore[arg-type]
    assert spec.preprocess == Preprocess(order="RGB", scaling_factor=1.0)


def test_all_problems_are_reported_together() -> None:
    """One message lists everything that is wrong, each with what is allowed."""
    text = """
featurizer: resnet51
weights: {source: file, path: ../w.npz, width_multiplier: 0.3, seed: 1}
classifier: {path: /etc/passwd, labels: 7}
preprocess: {order: GBR, scaling_factor: .nan, size: 224}
colour: blue
"""

    found = problems(text)

    for expected in (
        "featurizer is 'resnet51'; known: resnet50",
        "weights.path is '../w.npz'; it must stay inside",
        "weights.width_multiplier is 0.3; allowed: 1, 0.5, 0.25",
        "weights.seed is unknown",
        "classifier.path is '/etc/passwd'; it must stay inside",
        "classifier.labels is 7",
        "preprocess.order is 'GBR'; known: RGB, BGR",
        "preprocess.scaling_factor is nan",
        "preprocess.size is unknown",
        "colour is unknown; known: featurizer, weights",
    ):
        assert any(problem.startswith(expected) for problem in found), (expected, found)
    assert len(found) == 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "weights is missing"),
        ("weights: file", "weights is 'file'; it must be a mapping"),
        ("weights: {source: web}", "weights.source is 'web'; known: file, imagenet, seeded"),
        ("weights: {source: seeded, seed: -1}", "weights.seed is -1"),
        ("weights: {source: seeded, seed: true}", "weights.seed is True"),
        ("weights: {source: seeded}\nclassifier: {seed: 1}", "classifier.classes is None"),
        ("weights: {source: seeded}\nclassifier: {classes: 1}", "classifier.classes is 1"),
        ("weights: {source: file, path: ''}", "weights.path is ''"),
        ("weights: {source: file, path: 'c:\\w.npz'}", "weights.path is 'c:"),
        ("weights: {source: file, path: '..\\w.npz'}", "weights.path is '..\\\\w.npz'"),
        ("weights: {source: file, path: a, width_multiplier: 0.0001}", "weights.width_multiplier is 0.0001"),
        ("weights: {source: file, path: a, width_multiplier: 2}", "weights.width_multiplier is 2"),
        ("weights: {source: seeded}\npreprocess: {scaling_factor: 0}", "preprocess.scaling_factor is 0"),
    ],
)
def test_one_problem(text: str, problem: str) -> None:
    """Each wrong value is named by its key."""
    (found,) = problems(f"featurizer: resnet50\n{text}")

    assert found.startswith(problem)


@pytest.mark.parametrize(
    "text", ["", "just text", "[1, 2]", "a: b", "featurizer: [", "!!python/object/apply:os.system [ls]", "\0"]
)
def test_other_files_are_not_models(text: str) -> None:
    """YAML of something else, or no YAML, is named as such; tags that would run code are refused."""
    with pytest.raises(NotAModel, match=r"model\.yaml .*featurizer specification"):
        parse_spec(text, origin="model.yaml")
