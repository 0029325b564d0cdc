"""From a model source to a bundle: the folder that an image serves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform.errors import InvalidWeights, UnknownNumberFormat, UnknownTensor
from accelform.featurizers.families import FAMILIES
from accelform.featurizers.source import ModelSource, TensorInfo, forecast

if TYPE_CHECKING:
    from accelform.conversion.model import BuiltModel, Classifier
    from accelform.featurizers.resnet_v1 import ResNetPlan
    from accelform_runtime.numerics.format import NumberFormat
    from accelform_runtime.numerics.quantiser import Floats
    from accelform_runtime.timing.estimate import Estimate

BUNDLE_SCHEMA = 1
REPORT_SCHEMA = 1
METHOD_NAME = "tensorflow/serving/predict"
MODEL_FILE = "model.onnx"
BUNDLE_FILE = "bundle.json"
REPORT_FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A written bundle: file name -> path, and the forecast."""

    output_dir: Path
    files: Mapping[str, Path]
    estimate: Estimate


def convert(
    source: ModelSource,
    *,
    output_dir: Path,
    name: str,
    version: str,
    number_format: str,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Conversion:
    """Writes `model.onnx`, `bundle.json` and `report.json` into `output_dir`; the same arguments give the same bytes.

    Tensors default to the source's own. `progress` gets a line per step.

    Raises:
        UnknownNumberFormat: there is no such profile.
        UnknownTensor: the source has no such input or output.
        InvalidWeights and the weight sources' other errors: the weights can't be had or don't fit.
    """
    from accelform_runtime.errors import UnknownProfile
    from accelform_runtime.numerics.format import load_profile

    try:
        fmt = load_profile(number_format)
    except UnknownProfile as error:
        raise UnknownNumberFormat(str(error)) from error
    inputs = _chosen("input", input_tensors, source.input_tensors, name)
    outputs = _chosen("output", output_tensors, source.output_tensors, name)
    built = build(source, name=name, fmt=fmt, progress=progress)
    estimate = forecast(source, number_format=number_format)

    content = built.proto.SerializeToString(deterministic=True)
    digest = hashlib.sha256(content).hexdigest()
    bundle = {
        "schema": BUNDLE_SCHEMA,
        "name": name,
        "version": version,
        "family": source.family,
        "number_format": number_format,
        "method_name": METHOD_NAME,
        "inputs": [_tensor(tensor) | {"encoding": "image"} for tensor in inputs],
        "outputs": [_tensor(tensor) for tensor in outputs],
        "labels": list(source.labels),
        "estimate": {key: value for key, value in estimate.as_dict().items() if key != "layers"},
        "files": {MODEL_FILE: {"sha256": digest, "size_bytes": len(content)}},
    }
    report = {
        "schema": REPORT_SCHEMA,
        "name": name,
        "version": version,
        "source": {"digest": source.digest, "family": source.family, "framework": source.framework},
        "number_format": fmt.as_dict(),
        "estimate": estimate.as_dict(),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    files = {
        MODEL_FILE: content,
        BUNDLE_FILE: _json(bundle),
        REPORT_FILE: _json(report),
    }
    for file_name, data in files.items():
        (output_dir / file_name).write_bytes(data)
    progress(
        f"wrote {MODEL_FILE}, {len(content) / 1e6:.1f} MB, {number_format}, {estimate.latency_ms:.3f} ms on the FPGA"
    )
    return Conversion(output_dir=output_dir, files={key: output_dir / key for key in files}, estimate=estimate)


def build(
    source: ModelSource, *, name: str, fmt: NumberFormat, progress: Callable[[str], None] = lambda _: None
) -> BuiltModel:
    """The source's served graph in `fmt`, in memory.

    Raises:
        InvalidWeights and the weight sources' other errors: the weights can't be had or don't fit.
    """
    from accelform.conversion.fold import fold_and_quantise
    from accelform.conversion.model import build_model
    from accelform_runtime.errors import NotFinite

    family = FAMILIES[source.family]
    plan = family.plan()
    variables = load_variables(source, plan, progress)
    try:
        layers = fold_and_quantise(variables, plan, fmt, progress)
    except NotFinite as error:
        raise InvalidWeights(
            f"{source.files[0].path}: the weights can't be used: {error}. Check the batch-norm arrays."
        ) from error
    return build_model(
        name=name,
        family=family,
        plan=plan,
        layers=layers,
        classifier=_classifier(variables, plan),
        settings=source.spec.preprocess,
        fmt=fmt,
    )


def load_variables(
    source: ModelSource, plan: ResNetPlan, progress: Callable[[str], None] = lambda _: None
) -> dict[str, Floats]:
    """Every variable of the full-width `plan`, and the classifier's if the source has one.

    Raises:
        InvalidWeights and the weight sources' other errors.
    """
    from accelform.featurizers.weights import load, load_classifier
    from accelform.featurizers.widen import widen

    spec = source.spec
    narrow = FAMILIES[source.family].plan(width_divisor=spec.weights.width_divisor)
    variables = load(spec.weights, folder=source.folder, plan=narrow, progress=progress)
    if spec.classifier is not None:
        variables |= load_classifier(spec.classifier, folder=source.folder, plan=narrow)
    if narrow.width_divisor != 1:
        progress(f"widened from 1/{narrow.width_divisor} to full width")
    return widen(variables, narrow, plan)


def _classifier(variables: Mapping[str, Floats], plan: ResNetPlan) -> Classifier | None:
    from accelform.conversion.model import Classifier

    weights_name, biases_name = plan.classifier_variables(1)
    if weights_name not in variables:
        return None
    return Classifier(weights=variables[weights_name], biases=variables[biases_name])


def _chosen(
    kind: str, wanted: Sequence[str] | None, available: tuple[TensorInfo, ...], model: str
) -> tuple[TensorInfo, ...]:
    known = {tensor.name: tensor for tensor in available}
    if missing := [tensor for tensor in wanted or () if tensor not in known]:
        raise UnknownTensor(f"{model} has no {kind} tensor {', '.join(missing)}; it has {', '.join(known)}")
    return available if wanted is None else tuple(known[tensor] for tensor in wanted)


def _tensor(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "alias": tensor.alias, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
