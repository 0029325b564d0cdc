"""The featurizer specification: the YAML file that a Model is made from.

    featurizer: resnet50
    weights: {source: file, path: featurizer.npz, width_multiplier: 0.125}
    classifier: {path: classifier.npz, labels: labels.txt}
    preprocess: {order: RGB, scaling_factor: 1.0, resize: aspect}

`weights` may also be `{source: imagenet}` or `{source: seeded, seed: 0}`, `classifier` `{classes: 10, seed: 0}`. A
Keras file without its network's configuration needs `strides: slim` in `weights`, and may need `batch_norm_epsilon`.
Paths are relative to the file and stay inside its folder. `classifier` and `preprocess` are optional; what is left out
of `preprocess` is the family's own. A detector has no classifier but classes itself:

    featurizer: ssd_vgg
    weights: {source: file, path: detector.npz}
    classes: 3
    labels: labels.txt
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from accelform.errors import InvalidFeaturizerSpec, NotAModel
from accelform.featurizers.families import FAMILIES, Family
from accelform.featurizers.preprocessing import Preprocess
from accelform.texts import NotText, parse_yaml

__all__ = [
    "FeaturizerSpec",
    "FileClassifier",
    "FileWeights",
    "ImagenetWeights",
    "Preprocess",
    "SeededClassifier",
    "SeededWeights",
    "parse_spec",
]

ORDERS = ("RGB", "BGR")
RESIZES = {"aspect": True, "free": False}
"""`preprocess.resize` -> `keep_aspect_ratio`."""

INDEX, DATA = ".index", ".data-00000-of-00001"
"""Endings of a TensorFlow checkpoint's two files."""

MAX_CLASSES = 100_000
KERAS_ENDINGS = (".h5", ".hdf5", ".keras")
KERAS_KEYS = ("strides", "batch_norm_epsilon")
SLIM_STRIDES = "slim"
WEIGHT_SOURCES = ("file", "imagenet", "seeded")


@dataclass(frozen=True, kw_only=True)
class FileWeights:
    """Weights from a file beside the specification; `width_multiplier` 1/k: its channel counts are a k-th.

    `strides` and `batch_norm_epsilon` say of a Keras file without a configuration what that would have said.
    """

    path: str
    width_multiplier: float = 1.0
    strides: str | None = None
    batch_norm_epsilon: float | None = None

    @property
    def width_divisor(self) -> int:
        return round(1 / self.width_multiplier)


@dataclass(frozen=True, kw_only=True)
class ImagenetWeights:
    """The published ImageNet weights, downloaded when the model is converted."""

    width_divisor: int = 1


@dataclass(frozen=True, kw_only=True)
class SeededWeights:
    """Random weights with calibrated batch-norm statistics; the same seed gives the same weights."""

    seed: int = 0
    width_divisor: int = 1


@dataclass(frozen=True, kw_only=True)
class FileClassifier:
    """A trained classifier: weights and biases from a file, one label per line in another."""

    path: str
    labels: str | None = None


@dataclass(frozen=True, kw_only=True)
class SeededClassifier:
    """A random classifier, for trying things out."""

    classes: int
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FeaturizerSpec:
    """A parsed specification.

    Attributes:
        classes, labels: a detector's: kinds of object, the background not counted, and the file with one label each
    """

    featurizer: str
    weights: FileWeights | ImagenetWeights | SeededWeights
    classifier: FileClassifier | SeededClassifier | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    classes: int | None = None
    labels: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it names, relative to its folder; with a TensorFlow checkpoint's index, its data."""
        found = [self.weights.path] if isinstance(self.weights, FileWeights) else []
        if isinstance(self.classifier, FileClassifier):
            found += [path for path in (self.classifier.path, self.classifier.labels) if path is not None]
        found += [self.labels] if self.labels is not None else []
        data = [f"{path.removesuffix(INDEX)}{DATA}" for path in found if path.endswith(INDEX)]
        return tuple(dict.fromkeys(found + data))


def parse_spec(text: str, *, origin: str) -> FeaturizerSpec:
    """Reads a specification; `origin` names the file in messages.

    Raises:
        NotAModel: not YAML, or YAML of something else.
        InvalidFeaturizerSpec: unknown keys, wrong types or values: every problem in one message.
    """
    try:
        raw = parse_yaml(text)
    except NotText as error:
        raise NotAModel(f"{origin} can't be read as a featurizer specification: it is not YAML: {error}") from error
    if not isinstance(raw, dict) or "featurizer" not in raw:
        raise NotAModel(
            f"{origin} is not a featurizer specification: it has no key featurizer. "
            "It should start like this: `featurizer: resnet50`"
        )
    reader = _Reader()
    spec = reader.spec(raw)
    if reader.problems:
        listed = "".join(f"\n  - {problem}" for problem in reader.problems)
        raise InvalidFeaturizerSpec(
            f"{origin} has {len(reader.problems)} problem(s); correct them and try again:{listed}"
        )
    return spec


class _Reader:
    """Reads sections, collecting problems; a value with a problem is replaced by a harmless one."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def spec(self, raw: Mapping[str, Any]) -> FeaturizerSpec:
        name = raw["featurizer"]
        family = FAMILIES.get(name) if isinstance(name, str) else None
        if family is None:
            self.problems.append(f"featurizer is {name!r}; known: {', '.join(FAMILIES)}")
            family = FAMILIES["resnet50"]
        detects = family.classifier is None
        own = ["classes", "labels"] if detects else ["classifier"]
        if detects and raw.get("classifier") is not None:
            self.problems.append(
                f"classifier is given, but {family.name} has none: it gives class scores and boxes itself; "
                "use classes and labels instead"
            )
            own.append("classifier")
        self._only(raw, "", ("featurizer", "weights", *own, "preprocess"))
        return FeaturizerSpec(
            featurizer=family.name,
            weights=self._weights(raw, family),
            classifier=None if detects else self._classifier(raw),
            preprocess=self._preprocess(raw, family.preprocess),
            classes=self._object_classes(raw, family) if detects else None,
            labels=self._path(raw, "labels") if detects and raw.get("labels") is not None else None,
        )

    def _weights(self, raw: Mapping[str, Any], family: Family) -> FileWeights | ImagenetWeights | SeededWeights:
        if "weights" not in raw:
            self.problems.append("weights is missing; e.g. weights: {source: seeded, seed: 0}")
            return SeededWeights()
        section = self._section(raw, "weights")
        if section is None:
            return SeededWeights()
        source = section.get("source")
        if source == "file":
            self._only(section, "weights.", ("source", "path", "width_multiplier", *KERAS_KEYS))
            path = self._path(section, "weights.path")
            return FileWeights(
                path=path,
                width_multiplier=self._width_multiplier(section, family),
                **self._of_keras(section, path),
            )
        if source == "imagenet":
            self._only(section, "weights.", ("source",))
            if family.checkpoint is None:
                having = ", ".join(name for name, row in FAMILIES.items() if row.checkpoint is not None)
                self.problems.append(
                    f"weights.source is 'imagenet', but for {family.name} none are published; they are for {having}"
                )
            return ImagenetWeights()
        if source == "seeded":
            self._only(section, "weights.", ("source", "seed"))
            return SeededWeights(seed=self._whole(section, "weights.seed", default=0, low=0, high=2**32 - 1))
        self.problems.append(f"weights.source is {source!r}; known: {', '.join(WEIGHT_SOURCES)}")
        return SeededWeights()

    def _of_keras(self, section: Mapping[str, Any], path: str) -> dict[str, Any]:
        given = {key: section[key] for key in KERAS_KEYS if section.get(key) is not None}
        if given and path and not path.lower().endswith(KERAS_ENDINGS):
            self.problems.append(
                f"weights.{next(iter(given))} is given, but {path} is no Keras file; it is for "
                f"{', '.join(KERAS_ENDINGS)}"
            )
        strides, epsilon = given.get("strides"), given.get("batch_norm_epsilon")
        if strides not in (None, SLIM_STRIDES):
            self.problems.append(
                f"weights.strides is {strides!r}; known: {SLIM_STRIDES} (the last unit of a stage strides, on its 3x3 "
                "convolution). Networks that stride elsewhere can't run on the FPGA"
            )
        if epsilon is not None and not (_is_number(epsilon) and 0 < epsilon < 1):
            self.problems.append(f"weights.batch_norm_epsilon is {epsilon!r}; it must be a number between 0 and 1")
            del given["batch_norm_epsilon"]
        return given

    def _classifier(self, raw: Mapping[str, Any]) -> FileClassifier | SeededClassifier | None:
        if raw.get("classifier") is None:
            return None
        section = self._section(raw, "classifier")
        if section is None:
            return None
        if "path" in section:
            self._only(section, "classifier.", ("path", "labels"))
            labels = self._path(section, "classifier.labels") if section.get("labels") is not None else None
            return FileClassifier(path=self._path(section, "classifier.path"), labels=labels)
        self._only(section, "classifier.", ("classes", "seed"))
        return SeededClassifier(
            classes=self._whole(section, "classifier.classes", default=None, low=2, high=MAX_CLASSES),
            seed=self._whole(section, "classifier.seed", default=0, low=0, high=2**32 - 1),
        )

    def _preprocess(self, raw: Mapping[str, Any], usual: Preprocess) -> Preprocess:
        if raw.get("preprocess") is None:
            return usual
        section = self._section(raw, "preprocess")
        if section is None:
            return usual
        self._only(section, "preprocess.", ("order", "scaling_factor", "resize"))
        order = section.get("order", usual.order)
        if order not in ORDERS:
            self.problems.append(f"preprocess.order is {order!r}; known: {', '.join(ORDERS)}")
        factor = section.get("scaling_factor", usual.scaling_factor)
        if not _is_number(factor) or not math.isfinite(factor) or not 1e-6 <= abs(factor) <= 1e3:
            self.problems.append(f"preprocess.scaling_factor is {factor!r}; it must be a number from 0.000001 to 1000")
            factor = 1.0
        resize = section.get("resize", "aspect" if usual.keep_aspect_ratio else "free")
        if not isinstance(resize, str) or resize not in RESIZES:
            self.problems.append(f"preprocess.resize is {resize!r}; known: {', '.join(RESIZES)}")
            resize = "aspect"
        return Preprocess(order=str(order), scaling_factor=float(factor), keep_aspect_ratio=RESIZES[resize])

    def _object_classes(self, raw: Mapping[str, Any], family: Family) -> int:
        most = family.default_classes
        value = raw.get("classes", most)
        if _is_whole(value) and value > most:
            self.problems.append(
                f"classes is {value}; {family.name} takes at most {most}, the background not counted: "
                "the FPGA's deployment has no room for more"
            )
            return most
        return self._whole(raw, "classes", default=most, low=1, high=most)

    def _width_multiplier(self, section: Mapping[str, Any], family: Family) -> float:
        value = section.get("width_multiplier", 1)
        most = family.max_width_divisor
        fine = _is_number(value) and 0 < value <= 1
        divisor = round(1 / value) if fine and value >= 1 / (2 * most) else 0
        if not divisor or divisor > most or divisor & (divisor - 1) or float(value) != 1 / divisor:
            allowed = ", ".join(f"{2.0**-power:g}" for power in range(most.bit_length()))
            self.problems.append(f"weights.width_multiplier is {value!r}; {family.name} takes {allowed}")
            return 1.0
        return float(value)

    def _whole(self, section: Mapping[str, Any], key: str, *, default: int | None, low: int, high: int) -> int:
        value = section.get(key.rpartition(".")[2], default)
        if not _is_whole(value) or not low <= value <= high:
            self.problems.append(f"{key} is {value!r}; it must be a whole number from {low} to {high}")
            return low
        return value

    def _path(self, section: Mapping[str, Any], key: str) -> str:
        value = section.get(key.rpartition(".")[2])
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            self.problems.append(f"{key} is {value!r}; it must name a file beside the specification")
            return ""
        path = PurePosixPath(value.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or path.parts[0].endswith(":"):
            self.problems.append(f"{key} is {value!r}; it must stay inside the specification's folder")
        return path.as_posix()

    def _section(self, raw: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
        value = raw[key]
        if isinstance(value, dict):
            return value
        self.problems.append(f"{key} is {value!r}; it must be a mapping")
        return None

    def _only(self, section: Mapping[Any, Any], prefix: str, known: Sequence[str]) -> None:
        self.problems += [
            f"{prefix}{key} is unknown; known: {', '.join(prefix + name for name in known)}"
            for key in section
            if key not in known
        ]


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
