"""What a model file is (identity, tensors, files), found out locally and quickly; and what the FPGA will make of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.errors import InvalidWeights, ModelSourceMissing, NotAModel, UnknownNumberFormat
from accelform.featurizers.families import FAMILIES, IMAGE_TENSOR, INPUT_ALIAS, OUTPUT_ALIAS, Family
from accelform.featurizers.spec import (
    FeaturizerSpec,
    FileClassifier,
    FileWeights,
    ImagenetWeights,
    SeededClassifier,
    parse_spec,
)

if TYPE_CHECKING:
    import numpy as np

    from accelform_runtime.timing.estimate import Estimate

KIND = "featurizer"
FRAMEWORK = "Custom"
"""Azure ML's `model_framework` of everything that is no framework's own file."""

ENDINGS = (".yaml", ".yml")
MAX_SPEC_BYTES = 1 << 20
HASHED_AT_ONCE = 1 << 20
FPGA = "bw-a10"


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A graph's input or output: TensorFlow name, the short name clients may use, type, shape (-1: any length)."""

    name: str
    alias: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file the model is made of; `name` is relative to the model's folder, with `/`."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model as its author wrote it.

    Attributes:
        digest: `sha256:...` over the parsed specification and the files' contents; not over place, time or formatting
        classes: length of the prediction; None without a classifier
        labels: one per class, in output order; empty if there are none
        files: everything needed to read the source again elsewhere, the specification first
    """

    kind: str
    digest: str
    framework: str
    family: str
    input_tensors: tuple[TensorInfo, ...]
    output_tensors: tuple[TensorInfo, ...]
    classes: int | None
    labels: tuple[str, ...]
    files: tuple[SourceFile, ...]
    spec: FeaturizerSpec

    @property
    def folder(self) -> Path:
        """The folder that the specification's paths are relative to."""
        return self.files[0].path.parent


def read_source(path: Path) -> ModelSource:
    """Reads a featurizer specification and looks at the files it names, without loading big ones into memory.

    Raises:
        ModelSourceMissing: the file, or one it names, is missing, unreadable, or outside the specification's folder.
        NotAModel: the file is no featurizer specification.
        InvalidFeaturizerSpec: the specification has problems.
        InvalidWeights, WeightsUnreadable: the classifier or the labels don't fit, or a file can't be read.
    """
    path = Path(path)
    text = _read_text(path)
    spec = parse_spec(text, origin=path.name)
    family = FAMILIES[spec.featurizer]
    files = (_describe(path, path.name), *(_describe(_inside(path.parent, name), name) for name in spec.paths))
    classes = _classes(spec, family, files)
    return ModelSource(
        kind=KIND,
        digest=_digest(spec, files[1:]),
        framework=FRAMEWORK,
        family=family.name,
        input_tensors=(TensorInfo(name=IMAGE_TENSOR, alias=INPUT_ALIAS, dtype="DT_STRING", shape=(-1,)),),
        output_tensors=(_output(family, classes),),
        classes=classes,
        labels=_labels(spec, path.parent, classes),
        files=files,
        spec=spec,
    )


def forecast(source: ModelSource | str, *, number_format: str) -> Estimate:
    """What the FPGA will make of the model (or of the family of that name): pure, from the layer plan alone.

    Raises:
        UnknownNumberFormat: there is no such profile.
    """
    from accelform_runtime.errors import UnknownProfile
    from accelform_runtime.numerics.format import load_profile
    from accelform_runtime.timing.estimate import ConvLayer, estimate
    from accelform_runtime.timing.spec import load_spec

    try:
        fmt = load_profile(number_format)
    except UnknownProfile as error:
        raise UnknownNumberFormat(str(error)) from error
    family = FAMILIES[source if isinstance(source, str) else source.family]
    layers = [
        ConvLayer(
            name=conv.name,
            positions=conv.out_size**2,
            in_channels=conv.in_channels,
            out_channels=conv.out_channels,
            kernel_height=conv.kernel,
            kernel_width=conv.kernel,
        )
        for conv in family.plan().convolutions
    ]
    return estimate(layers, load_spec(FPGA), fmt)


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise NotAModel(f"{path} is a folder; name the featurizer specification in it, e.g. {path / 'featurizer.yaml'}")
    if path.suffix.lower() not in ENDINGS:
        if not path.exists():
            raise ModelSourceMissing(f"{path} is missing. Check model_path; it is relative to Pulumi.yaml.")
        raise NotAModel(f"{path} is not a featurizer specification: its name must end in .yaml or .yml")
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_SPEC_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelSourceMissing(f"{path} is missing. Check model_path; it is relative to Pulumi.yaml.") from error
    except OSError as error:
        raise ModelSourceMissing(f"{path} can't be read: {error.strerror}. Check its permissions.") from error
    if len(content) > MAX_SPEC_BYTES:
        raise NotAModel(f"{path} is larger than 1 MiB; a featurizer specification has a few lines")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAModel(f"{path} is not a text file in UTF-8, so it is no featurizer specification") from error


def _inside(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelSourceMissing(f"{name} leads outside {folder}. Put the file itself beside the specification.")
    return path


def _describe(path: Path, name: str) -> SourceFile:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as stream:
            while part := stream.read(HASHED_AT_ONCE):
                digest.update(part)
                size += len(part)
    except FileNotFoundError as error:
        raise ModelSourceMissing(f"{path} is missing. Put it there, or correct the specification.") from error
    except OSError as error:
        raise ModelSourceMissing(f"{path} can't be read: {error.strerror}. It must be a readable file.") from error
    return SourceFile(name=name, path=path, sha256=digest.hexdigest(), size_bytes=size)


_FITTING: dict[tuple[FeaturizerSpec, tuple[str, ...]], int | None] = {}
"""Contents already found to fit, with the number of classes: one preview reads the same source several times."""


def _classes(spec: FeaturizerSpec, family: Family, files: tuple[SourceFile, ...]) -> int | None:
    """The length of the prediction; raises where weights or classifier don't fit the family."""
    key = (spec, tuple(file.sha256 for file in files))
    if key not in _FITTING:
        _FITTING[key] = _fitting_classes(spec, family, files[0].path.parent)
    return _FITTING[key]


def _fitting_classes(spec: FeaturizerSpec, family: Family, folder: Path) -> int | None:
    from accelform.featurizers.weights import load, load_classifier

    plan = family.plan(width_divisor=spec.weights.width_divisor)
    _, biases_name = plan.classifier_variables(1)
    own: int | None = None
    if isinstance(spec.weights, FileWeights):
        arrays = load(spec.weights, folder=folder, plan=plan)
        own = arrays[biases_name].shape[0] if biases_name in arrays else None
    elif isinstance(spec.weights, ImagenetWeights):
        own = family.default_classes
    if isinstance(spec.classifier, SeededClassifier):
        return spec.classifier.classes
    if isinstance(spec.classifier, FileClassifier):
        biases: np.ndarray = load_classifier(spec.classifier, folder=folder, plan=plan)[biases_name]
        return int(biases.shape[0])
    return own


def _labels(spec: FeaturizerSpec, folder: Path, classes: int | None) -> tuple[str, ...]:
    if not isinstance(spec.classifier, FileClassifier) or spec.classifier.labels is None:
        return ()
    path = folder / spec.classifier.labels
    try:
        labels = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    except UnicodeDecodeError as error:
        raise InvalidWeights(f"{path} is not a text file in UTF-8; it must hold one label per line") from error
    if len(labels) != classes or not all(labels):
        empty = sum(not label for label in labels)
        raise InvalidWeights(
            f"{path} holds {len(labels)} line(s), {empty} of them empty; the classifier has {classes} classes. "
            "It must hold one label per line, in the order of the classifier's outputs."
        )
    return labels


def _digest(spec: FeaturizerSpec, files: tuple[SourceFile, ...]) -> str:
    content = {
        "kind": KIND,
        "spec": asdict(spec) | {"weights_source": type(spec.weights).__name__},
        "files": {file.name: file.sha256 for file in files},
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _output(family: Family, classes: int | None) -> TensorInfo:
    if classes is None:
        shape = (-1, 1, 1, family.feature_length)
        return TensorInfo(name=family.feature_tensor, alias=OUTPUT_ALIAS, dtype="DT_FLOAT", shape=shape)
    return TensorInfo(name=family.prediction_tensor, alias=OUTPUT_ALIAS, dtype="DT_FLOAT", shape=(-1, classes))
