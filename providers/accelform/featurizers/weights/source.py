"""From a specification's `weights` and `classifier` sections to checked arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform._base.progress import Progress
from accelform.errors import ModelSourceMissing, WeightsUnreadable
from accelform.featurizers.families import Family
from accelform.featurizers.spec import FileClassifier, FileWeights, ImagenetWeights, SeededClassifier, SeededWeights
from accelform.foreign_files import foreign_kind

if TYPE_CHECKING:
    import numpy as np

    from accelform.featurizers.weights.arrays import Shape
    from accelform_runtime.network.network import Network

FORMATS = (".npz", ".h5", ".hdf5", ".keras", ".onnx", ".ckpt", ".index")

AVERAGES = "/ExponentialMovingAverage"
"""What TensorFlow 1's optimisers called them."""


def load(
    weights: FileWeights | ImagenetWeights | SeededWeights,
    *,
    folder: Path,
    family: Family,
    classes: int | None = None,
    progress: Progress = lambda message: None,
) -> dict[str, np.ndarray]:
    """Return every variable of the family's network at the weights' own width, float32 HWIO.

    If the source has a classifier of its own, its two arrays come last. `folder` is the specification's; `classes` is
    a detector's; `progress` gets one line per step of a download, and per thing that a file left open.

    Raises:
        ModelSourceMissing: the file is missing, unreadable, or outside the folder.
        WeightsUnreadable: the file is damaged, unsafe, too large or of an unknown format.
        InvalidWeights: the arrays don't fit the network; the message lists every problem.
        DownloadUnavailable: the published weights can't be fetched.
    """
    network = family.network(width_divisor=weights.width_divisor, classes=classes)
    if isinstance(weights, SeededWeights):
        from accelform.featurizers.weights.seeded import seeded_weights

        return seeded_weights(network, seed=weights.seed, scaling_factor=family.preprocess.scaling_factor)
    if isinstance(weights, ImagenetWeights):
        from accelform.featurizers.weights.imagenet import imagenet_weights

        arrays, origin = imagenet_weights(family, progress=progress), "the published ImageNet checkpoint"
    else:
        path = _inside(folder, weights.path)
        declared = {"strides": weights.strides, "batch_norm_epsilon": weights.batch_norm_epsilon}
        arrays, origin = read_file(path, family=family, network=network, declared=declared, say=progress), str(path)
        if any(name.endswith(AVERAGES) for name in arrays):
            progress(f"{path.name} holds moving averages of its weights too; the weights themselves were taken")
    from accelform.featurizers.weights.arrays import checked

    head = _classifier_shapes(family, weights.width_divisor, None)
    expected: dict[str, Shape] = dict(network.variables())
    if set(head) & set(arrays):
        expected |= head
    return checked(arrays, expected, origin=origin)


def load_classifier(
    classifier: FileClassifier | SeededClassifier,
    *,
    folder: Path,
    family: Family,
    width_divisor: int = 1,
) -> dict[str, np.ndarray]:
    """Return the classifier's weights [1, 1, features, classes] and biases [classes], float32.

    The features are those of the network at `width_divisor`, so a narrow featurizer takes a narrow classifier. A file
    may hold the featurizer too.

    Raises:
        ModelSourceMissing, WeightsUnreadable, InvalidWeights: as for `load`.
    """
    if isinstance(classifier, SeededClassifier):
        from accelform.featurizers.weights.seeded import seeded_classifier

        shapes = family.classifier_variables(classifier.classes, width_divisor=width_divisor)
        return seeded_classifier(shapes, seed=classifier.seed)
    from accelform.featurizers.weights.arrays import checked

    network = family.network(width_divisor=width_divisor)
    path = _inside(folder, classifier.path)
    arrays = read_file(path, family=family, network=network)
    biases_name = tuple(family.classifier_variables(1))[1]
    biases = arrays.get(biases_name)
    classes = biases.shape[0] if biases is not None and biases.ndim == 1 else None
    expected = _classifier_shapes(family, width_divisor, classes)
    return checked(arrays, expected, origin=str(path), also_fine=network.variables())


def read_file(
    path: Path,
    *,
    family: Family,
    network: Network,
    declared: Mapping[str, Any] | None = None,
    say: Progress = lambda line: None,
) -> dict[str, np.ndarray]:
    """Return the arrays of one weight file, read by its ending (`FORMATS`), not yet checked against a network.

    `declared` is what a specification says of a Keras file; None where only the classifier counts.
    """
    ending = path.suffix.lower()
    if foreign := foreign_kind(path):
        raise WeightsUnreadable(f"{path.name} can't be read as weights: it is {foreign}.")
    if ending not in FORMATS:
        raise WeightsUnreadable(
            f"{path.name} can't be read as weights: its ending is {ending or 'missing'}; known: {', '.join(FORMATS)}."
        )
    try:
        if ending == ".npz":
            from accelform.featurizers.weights.npz import read_npz

            return read_npz(path)
        if ending == ".onnx":
            from accelform.featurizers.weights.onnx_file import read_onnx

            return read_onnx(path, scope=network.name)
        if ending == ".ckpt":
            from accelform.featurizers.weights.checkpoint_v1 import read_checkpoint_v1

            return read_checkpoint_v1(path)
        if ending == ".index":
            from accelform.featurizers.weights.checkpoint_v2 import read_checkpoint_v2

            return read_checkpoint_v2(path)
        from accelform.featurizers.weights.keras import Declared, read_keras

        return read_keras(
            path,
            network=network,
            classifier=tuple(family.classifier_variables(1)),
            declared=None if declared is None else Declared(**declared),
            say=say,
        )
    except OSError as error:
        raise ModelSourceMissing(
            f"{path} can't be read: {error.strerror or error}. Check that it exists and may be read."
        ) from error


def _classifier_shapes(family: Family, width_divisor: int, classes: int | None) -> dict[str, Shape]:
    """With `classes` None, of any number of classes; empty for a detector."""
    shapes = family.classifier_variables(1, width_divisor=width_divisor)
    return {name: (*shape[:-1], classes) for name, shape in shapes.items()}


def _inside(folder: Path, relative: str) -> Path:
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelSourceMissing(f"{relative} leads outside {folder}. Put the file itself beside the specification.")
    if not path.is_file():
        index = path.with_name(f"{path.name}.index")
        if index.is_file():
            raise ModelSourceMissing(f"{path} is no file. Of a TensorFlow checkpoint name the index: {index.name}.")
        raise ModelSourceMissing(f"{path} is missing or no file. Put the weights there, or correct the specification.")
    return path
