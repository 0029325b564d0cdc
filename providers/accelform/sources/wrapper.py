"""The YAML file that says more about a network file than the file itself does.

    model: network.keras
    labels: labels.txt
    preprocess: {order: RGB, scaling_factor: 1.0, resize: aspect}
    input_tensors: [input_1:0]
    output_tensors: [predictions/Softmax:0]

Of a SavedModel also `signature: score` and `tags: [serve, gpu]`. Only `model` is needed: a file or folder beside the
YAML file. With `preprocess` the service takes encoded images; a network that prepares its input itself gets them
decoded and resized, without means or factor that are not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from accelform.errors import InvalidFeaturizerSpec, NotAModel
from accelform.featurizers.preprocessing import Preprocess
from accelform.sources.files import is_plain_name
from accelform.texts import NotText, parse_yaml

KEYS = ("model", "labels", "preprocess", "input_tensors", "output_tensors", "signature", "tags")
ORDERS = ("RGB", "BGR")
RESIZES = {"aspect": True, "free": False}
MEANS = {"imagenet": True, "none": False}
MAX_TENSORS = 64


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """A parsed file; tensors are None where the model's own count, `asked` are the keys below `preprocess`."""

    model: str
    labels: str | None = None
    preprocess: Preprocess | None = None
    asked: frozenset[str] = frozenset()
    input_tensors: tuple[str, ...] | None = None
    output_tensors: tuple[str, ...] | None = None
    signature: str | None = None
    tags: tuple[str, ...] | None = None


def load_yaml(text: str, *, origin: str) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Raises:
        NotAModel: not YAML, or no mapping.
    """
    try:
        raw = parse_yaml(text)
    except NotText as error:
        raise NotAModel(f"{origin} can't be read as a featurizer specification: it is not YAML: {error}") from error
    if not isinstance(raw, dict) or not {"featurizer", "model"} & set(raw):
        raise NotAModel(
            f"{origin} is not a featurizer specification: it has no key featurizer, and no key model either. "
            "It should start like this: `featurizer: resnet50`, or `model: network.onnx`"
        )
    return raw


def parse_wrapper(raw: Mapping[Any, Any], *, origin: str) -> Wrapper:
    """Checks the mapping; `origin` names the file in messages.

    Raises:
        InvalidFeaturizerSpec: every problem in one message.
    """
    problems = [f"{key} is unknown; known: {', '.join(KEYS)}" for key in raw if key not in KEYS]
    wrapper = Wrapper(
        model=_path(raw, "model", problems) or "",
        labels=_path(raw, "labels", problems) if raw.get("labels") is not None else None,
        preprocess=_preprocess(section := raw.get("preprocess"), problems),
        asked=frozenset(map(str, section)) if isinstance(section, dict) else frozenset(),
        input_tensors=_names(raw, "input_tensors", problems),
        output_tensors=_names(raw, "output_tensors", problems),
        signature=_signature(raw, problems),
        tags=_names(raw, "tags", problems, what="tags of a SavedModel's graph, e.g. [serve]"),
    )
    if problems:
        listed = "".join(f"\n  - {problem}" for problem in problems)
        raise InvalidFeaturizerSpec(f"{origin} has {len(problems)} problem(s); correct them and try again:{listed}")
    return wrapper


def _path(raw: Mapping[Any, Any], key: str, problems: list[str]) -> str | None:
    value = raw.get(key)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        problems.append(f"{key} is {value!r}; it must name a file or folder beside this one")
        return None
    if not is_plain_name(value):
        problems.append(f"{key} is {value!r}; it must stay inside this file's folder")
        return None
    return PurePosixPath(value.replace("\\", "/")).as_posix()


def _preprocess(section: Any, problems: list[str]) -> Preprocess | None:
    if section is None:
        return None
    if not isinstance(section, dict):
        problems.append(f"preprocess is {section!r}; it must be a mapping, e.g. {{order: RGB}}")
        return None
    known = ("order", "means", "scaling_factor", "resize")
    problems += [f"preprocess.{key} is unknown; known: {', '.join(known)}" for key in section if key not in known]
    order, factor, resize = section.get("order", "RGB"), section.get("scaling_factor", 1.0), section.get("resize")
    if order not in ORDERS:
        problems.append(f"preprocess.order is {order!r}; known: {', '.join(ORDERS)}")
    number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
    if not number or not math.isfinite(factor) or not 1e-6 <= abs(factor) <= 1e3:
        problems.append(f"preprocess.scaling_factor is {factor!r}; it must be a number from 0.000001 to 1000")
        factor = 1.0
    if resize is not None and (not isinstance(resize, str) or resize not in RESIZES):
        problems.append(f"preprocess.resize is {resize!r}; known: {', '.join(RESIZES)}")
        resize = None
    means = section.get("means", "imagenet")
    if not isinstance(means, str) or means not in MEANS:
        problems.append(f"preprocess.means is {means!r}; known: {', '.join(MEANS)}")
        means = "imagenet"
    return Preprocess(
        means=MEANS[means],
        order=str(order),
        scaling_factor=float(factor),
        keep_aspect_ratio=RESIZES.get(resize or "aspect", True),
    )


def _signature(raw: Mapping[Any, Any], problems: list[str]) -> str | None:
    value = raw.get("signature")
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    problems.append(f"signature is {value!r}; it must be the name of one of a SavedModel's signatures")
    return None


def _names(
    raw: Mapping[Any, Any], key: str, problems: list[str], *, what: str = "tensor names, e.g. [input_1:0]"
) -> tuple[str, ...] | None:
    value = raw.get(key)
    if value is None:
        return None
    names = [value] if isinstance(value, str) else value
    fine = isinstance(names, list) and 0 < len(names) <= MAX_TENSORS
    if not fine or not all(isinstance(name, str) and name.strip() for name in names):
        problems.append(f"{key} is {value!r}; it must be a list of {what}")
        return None
    return tuple(names)
