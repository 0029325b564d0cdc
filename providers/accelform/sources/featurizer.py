"""A featurizer specification as a source: Accelform builds the network, the files bring arrays and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from accelform._base.progress import Progress, silent
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.errors import InvalidWeights
from accelform.featurizers.families import FAMILIES, IMAGE_TENSOR, INPUT_ALIAS, OUTPUT_ALIAS, Family
from accelform.featurizers.spec import (
    KERAS_ENDINGS,
    KERAS_KEYS,
    FeaturizerSpec,
    FileClassifier,
    FileWeights,
    ImagenetWeights,
    SeededClassifier,
    parse_spec,
)
from accelform.kept import recall, remember
from accelform.sources.files import as_before, content_digest, described, read_labels
from accelform.sources.model import ModelSource, SourceFile
from accelform_runtime.network.network import Network

if TYPE_CHECKING:
    import onnx

    from accelform_runtime.numerics.quantiser import Floats

KIND = "featurizer"
FRAMEWORK = "Custom"
WHAT = "a featurizer specification"


KERAS_READING = 2
"""Changes whenever the same Keras file would give other weights; part of the identity where there is one."""


def read_featurizer(path: Path, text: str, progress: Progress = silent) -> ModelSource:
    """Reads a specification and looks at the files that it names; `progress` gets a line per assumption.

    Raises:
        ModelSourceMissing: a file that it names is missing, unreadable, or outside its folder.
        NotAModel, InvalidFeaturizerSpec: the text is no specification, or has problems.
        InvalidWeights, WeightsUnreadable: classifier or labels don't fit, or a file can't be read.
    """
    spec = parse_spec(text, origin=path.name)
    family = FAMILIES[spec.featurizer]
    folder = path.parent
    files = described(folder, (path.name, *spec.paths))
    classes, assumptions = _classes(spec, family, files)
    for assumption in assumptions:
        progress(f"{path.name}: {assumption}")
    labels: tuple[str, ...] = ()
    if isinstance(spec.classifier, FileClassifier) and spec.classifier.labels is not None:
        labels = read_labels(folder / spec.classifier.labels, classes=classes)
    if spec.labels is not None:
        labels = read_labels(folder / spec.labels, classes=spec.classes)
    network = family.network(classes=spec.classes)
    return ModelSource(
        path=path,
        kind=KIND,
        digest=content_digest(KIND, identity_settings(spec), files[1:]),
        framework=FRAMEWORK,
        family=family.name,
        network=network,
        input_tensors=(TensorInfo(name=IMAGE_TENSOR, alias=INPUT_ALIAS, dtype="DT_STRING", shape=(-1,)),),
        output_tensors=_outputs(family, network, classes),
        classes=classes,
        labels=labels,
        files=files,
        preprocess=spec.preprocess,
        spec=spec,
        multiply_accumulates=network.multiply_accumulates + _classifier_work(family, classes),
        assumptions=assumptions,
    )


def identity_settings(spec: FeaturizerSpec) -> dict[str, object]:
    """What counts for identity beside the files."""
    plain = asdict(spec)
    if isinstance(spec.weights, FileWeights):
        plain["weights"] = {
            key: value for key, value in plain["weights"].items() if key not in KERAS_KEYS or value is not None
        }
    settings: dict[str, object] = {"spec": plain | {"weights_source": type(spec.weights).__name__}}
    if any(name.lower().endswith(KERAS_ENDINGS) for name in spec.paths):
        settings["keras_reading"] = KERAS_READING
    return as_before(settings)


def open_featurizer(source: ModelSource, progress: Progress) -> SplitModel:
    """Loads the weights, widens a narrow network, folds batch norm.

    Raises:
        InvalidWeights and the weight sources' other errors: the weights can't be had or don't fit.
    """
    from accelform.conversion.fold import fold_variables
    from accelform_runtime.errors import NotFinite

    family = FAMILIES[source.family or ""]
    variables = load_variables(source, progress)
    try:
        parameters = fold_variables(source.network, variables)
    except NotFinite as error:
        raise InvalidWeights(
            f"{source.path}: the weights can't be used: {error}. Check the batch-norm arrays."
        ) from error
    return SplitModel(
        network=source.network,
        parameters=parameters,
        family=family.name,
        image_tensor=family.image_tensor,
        inputs=source.input_tensors,
        outputs=source.output_tensors,
        preprocess=source.preprocess,
        head=_classifier(variables, family, source.classes),
        labels=source.labels,
    )


def load_variables(source: ModelSource, progress: Progress = silent) -> dict[str, Floats]:
    """Every variable of the full-width network, and the classifier's if the source has one.

    Raises:
        InvalidWeights and the weight sources' other errors.
    """
    from accelform.featurizers.weights import load, load_classifier
    from accelform.featurizers.widen import widen

    spec = source.spec
    if spec is None:
        raise ValueError(f"{source.path} is no featurizer specification")
    family = FAMILIES[spec.featurizer]
    divisor = spec.weights.width_divisor
    variables = load(spec.weights, folder=source.folder, family=family, classes=spec.classes, progress=progress)
    if spec.classifier is not None:
        variables |= load_classifier(spec.classifier, folder=source.folder, family=family, width_divisor=divisor)
    if divisor == 1:
        return variables
    progress(f"widened from 1/{divisor} to full width")
    narrow = family.network(width_divisor=divisor, classes=spec.classes)
    return widen(variables, narrow, source.network, classifier=tuple(family.classifier_variables(1)))


def _classifier_work(family: Family, classes: int | None) -> int:
    """On the CPU, of one image."""
    length = family.feature_length
    return (
        length * classes if length is not None and classes is not None and family.prediction_tensor is not None else 0
    )


def _classes(spec: FeaturizerSpec, family: Family, files: tuple[SourceFile, ...]) -> tuple[int | None, tuple[str, ...]]:
    """The length of the prediction, and what was assumed; raises where weights or classifier don't fit the family."""
    key = [repr(spec), *(file.sha256 for file in files)]
    if (kept := recall("fitting", *key)) is not None:
        return kept["classes"], tuple(kept["told"])
    told: list[str] = []
    classes = _fitting_classes(spec, family, files[0].path.parent, told.append)
    remember("fitting", *key, found={"classes": classes, "told": told})
    return classes, tuple(told)


def _fitting_classes(spec: FeaturizerSpec, family: Family, folder: Path, say: Progress) -> int | None:
    from accelform.featurizers.weights import load, load_classifier

    biases_name = _classifier_names(family)[1]
    own: int | None = None
    if isinstance(spec.weights, FileWeights):
        arrays = load(spec.weights, folder=folder, family=family, classes=spec.classes, progress=say)
        own = arrays[biases_name].shape[0] if biases_name in arrays else None
    elif isinstance(spec.weights, ImagenetWeights):
        own = family.default_classes
    if isinstance(spec.classifier, SeededClassifier):
        return spec.classifier.classes
    if isinstance(spec.classifier, FileClassifier):
        divisor = spec.weights.width_divisor
        head = load_classifier(spec.classifier, folder=folder, family=family, width_divisor=divisor)
        return int(head[biases_name].shape[0])
    return own


def _classifier_names(family: Family) -> tuple[str, str]:
    """Of weights and biases; empty strings where the family has no classifier."""
    names = tuple(family.classifier_variables(1))
    return (names[0], names[1]) if names else ("", "")


def _classifier(variables: Mapping[str, Floats], family: Family, classes: int | None) -> onnx.GraphProto | None:
    """Features [1, 1, 1, n] -> prediction [1, classes], float32."""
    weights_name, biases_name = _classifier_names(family)
    if not weights_name or weights_name not in variables or classes is None or family.prediction_tensor is None:
        return None
    import numpy as np

    from accelform.conversion.graph import FLOAT, GraphWriter, tensor_value

    writer = GraphWriter()
    writer.scope = weights_name.rpartition("/")[0]
    features = family.feature_tensors[0]
    vector = writer.op("Reshape", features, writer.constant(np.array([1, -1], np.int64)))
    weights = writer.constant(variables[weights_name].reshape(-1, classes), name=weights_name)
    biases = writer.constant(variables[biases_name], name=biases_name)
    if family.softmax:
        writer.op("Softmax", writer.op("Gemm", vector, weights, biases), axis=-1, name=family.prediction_tensor)
    else:
        writer.op("Gemm", vector, weights, biases, name=family.prediction_tensor)
    return writer.model(
        name="classifier",
        inputs=[tensor_value(features, FLOAT, [1, 1, 1, family.feature_length])],
        outputs=[tensor_value(family.prediction_tensor, FLOAT, [1, classes])],
        functions=[],
        documentation="",
    ).graph


def _outputs(family: Family, network: Network, classes: int | None) -> tuple[TensorInfo, ...]:
    if classes is not None and family.prediction_tensor is not None:
        return (TensorInfo(name=family.prediction_tensor, alias=OUTPUT_ALIAS, dtype="DT_FLOAT", shape=(-1, classes)),)
    outputs = network.outputs
    return tuple(
        TensorInfo(
            name=output.tensor,
            alias=OUTPUT_ALIAS if len(outputs) == 1 else f"out_{index}",
            dtype="DT_FLOAT",
            shape=(-1, *output.shape),
        )
        for index, output in enumerate(outputs)
    )
