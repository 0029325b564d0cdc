"""A trained featurizer as a model: the YAML file that `Model(model_path=...)` takes, and the files that it names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from accelform.errors import InvalidFeaturizerSpec
from accelform.featurizers.spec import parse_spec
from accelform.training.classifier import Classifier
from accelform.training.featurizer import Featurizer
from accelform.training.weight_files import write_weights

FEATURIZER_FILE = "featurizer.npz"
CLASSIFIER_FILE = "classifier.npz"
LABELS_FILE = "labels.txt"


def write_specification(
    path: Path | str,
    featurizer: Featurizer,
    classifier: Classifier | None = None,
    *,
    labels: Sequence[str] = (),
    order: str = "RGB",
) -> tuple[Path, ...]:
    """Writes `path` (a .yaml), and beside it the featurizer's weights, the classifier's and its labels.

    The number format is no part of a model: choose the one that was trained for when it is converted
    (`ConvertedModel(number_format=...)`). `classifier` is by default the featurizer's own, if it has one.

    Returns the files, the specification first.

    Raises:
        InvalidFeaturizerSpec: the featurizer's width can't be said in a specification, or the labels don't count up
            to the classes.
    """
    path = Path(path)
    classifier = classifier or featurizer.classifier
    classes = featurizer.classes if classifier is None else classifier.classes
    if labels and len(labels) != classes:
        raise InvalidFeaturizerSpec(
            f"{path.name}: {len(labels)} label(s) for {classes or 'no'} classes. Give one label per class."
        )
    content: dict[str, object] = {
        "featurizer": featurizer.family.name,
        "weights": {
            "source": "file",
            "path": FEATURIZER_FILE,
            "width_multiplier": 1 / featurizer.width_divisor,
        },
    }
    if classifier is not None:
        content["classifier"] = {"path": CLASSIFIER_FILE} | ({"labels": LABELS_FILE} if labels else {})
    elif featurizer.classes is not None:
        content |= {"classes": featurizer.classes} | ({"labels": LABELS_FILE} if labels else {})
    content["preprocess"] = {"order": order}
    text = yaml.safe_dump(content, sort_keys=False)
    # Read back first: what is written will be taken, or nothing is.
    parse_spec(text, origin=path.name)

    folder = path.parent
    written = [write_weights(folder / FEATURIZER_FILE, featurizer.layers.arrays(), default_name="")]
    if classifier is not None:
        written.append(write_weights(folder / CLASSIFIER_FILE, classifier.arrays(), default_name=""))
    if labels:
        (folder / LABELS_FILE).write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        written.append(folder / LABELS_FILE)
    path.write_text(text, encoding="utf-8")
    return (path, *written)
