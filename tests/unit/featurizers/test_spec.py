from __future__ import annotations

import dataclasses

import pytest

from accelform.errors import InvalidFeaturizerSpec, NotAModel
from accelform.featurizers.families import FAMILIES
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
        "weights.width_multiplier is 0.3; resnet50 takes 1, 0.5, 0.25",
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


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_brings_its_own_preprocessing(name: str) -> None:
    """DenseNet scales, the detector stretches; what is given replaces only that."""
    usual = FAMILIES[name].preprocess
    plain = parse_spec(f"featurizer: {name}\nweights: {{source: seeded}}", origin="model.yaml")
    changed = parse_spec(
        f"featurizer: {name}\nweights: {{source: seeded}}\npreprocess: {{order: BGR}}", origin="model.yaml"
    )

    assert plain.preprocess == usual
    assert changed.preprocess == dataclasses.replace(usual, order="BGR")


@pytest.mark.parametrize(("resize", "keep_aspect_ratio"), [("aspect", True), ("free", False)])
def test_resize(resize: str, keep_aspect_ratio: bool) -> None:
    """Either way of resizing goes with every family."""
    spec = parse_spec(
        f"featurizer: vgg16\nweights: {{source: seeded}}\npreprocess: {{resize: {resize}}}", origin="model.yaml"
    )

    assert spec.preprocess.keep_aspect_ratio is keep_aspect_ratio


def test_a_detector() -> None:
    """It has kinds of object and labels of its own instead of a classifier; twenty kinds unless said otherwise."""
    few = parse_spec(
        "featurizer: ssd_vgg\nweights: {source: file, path: ssd.npz}\nclasses: 3\nlabels: kinds.txt", origin="m.yaml"
    )
    usual = parse_spec("featurizer: ssd_vgg\nweights: {source: seeded}", origin="m.yaml")

    assert (few.classes, few.labels, few.classifier, few.paths) == (3, "kinds.txt", None, ("ssd.npz", "kinds.txt"))
    assert (usual.classes, usual.labels) == (20, None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ssd_vgg\nclasses: 21", "classes is 21; ssd_vgg takes at most 20, the background not counted: the FPGA's"),
        ("ssd_vgg\nclasses: 0", "classes is 0; it must be a whole number from 1 to 20"),
        ("ssd_vgg\nclasses: many", "classes is 'many'; it must be a whole number from 1 to 20"),
        ("ssd_vgg\nlabels: ../kinds.txt", "labels is '../kinds.txt'; it must stay inside"),
        ("ssd_vgg\nclassifier: {classes: 3}", "classifier is given, but ssd_vgg has none: it gives class scores"),
        ("vgg16\nclasses: 3", "classes is unknown; known: featurizer, weights, classifier, preprocess"),
        ("vgg16\npreprocess: {resize: crop}", "preprocess.resize is 'crop'; known: aspect, free"),
    ],
)
def test_one_problem_of_a_family(text: str, problem: str) -> None:
    """What doesn't go with the family says why."""
    (found,) = problems(f"featurizer: {text}\nweights: {{source: seeded}}")

    assert found.startswith(problem)


@pytest.mark.parametrize("name", ["densenet121", "ssd_vgg"])
def test_published_weights_are_not_of_every_family(name: str) -> None:
    """The message tells which have some."""
    (found,) = problems(f"featurizer: {name}\nweights: {{source: imagenet}}")

    assert found.endswith(f"for {name} none are published; they are for resnet50, resnet152, vgg16")


@pytest.mark.parametrize(("name", "narrowest"), [("densenet121", 32), ("vgg16", 64)])
def test_a_family_gets_as_narrow_as_its_channels_allow(name: str, narrowest: int) -> None:
    """DenseNet grows by 32 channels, so a 32nd is its narrowest; what is allowed can be built."""
    text = "featurizer: {}\nweights: {{source: file, path: a.npz, width_multiplier: {}}}"
    spec = parse_spec(text.format(name, 1 / narrowest), origin="model.yaml")

    assert FAMILIES[name].network(width_divisor=spec.weights.width_divisor).width_divisor == narrowest
    (found,) = problems(text.format(name, 0.5 / narrowest))
    assert found.endswith(f" {1 / narrowest:g}")
