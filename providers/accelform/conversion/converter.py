"""From a split model to a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from accelform._base.progress import Progress, silent
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.errors import InvalidWeights, UnknownNumberFormat, UnknownTensor

if TYPE_CHECKING:
    from accelform.conversion.model import BuiltModel
    from accelform_runtime.numerics.format import NumberFormat
    from accelform_runtime.timing.estimate import Estimate


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A written bundle: file name -> path, the forecast, and the model that was written."""

    output_dir: Path
    files: Mapping[str, Path]
    estimate: Estimate
    built: BuiltModel


def convert(
    split: SplitModel,
    *,
    output_dir: Path,
    name: str,
    version: str,
    number_format: str,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Conversion:
    """Writes a bundle of schema 3 into `output_dir`; the same arguments give the same bytes.

    Tensors default to the model's own. `progress` gets a line per step.

    Raises:
        UnknownNumberFormat: there is no such profile.
        UnknownTensor: the model has no such input or output.
        InvalidWeights: a weight is NaN or infinite.
        UnsupportedModel: front or head can't be brought to the converter's opset, or don't fit the network.
    """
    from accelform.conversion.bundle import write_bundle
    from accelform.featurizers.forecast import forecast

    fmt = number_format_of(number_format)
    split = choose_tensors(split, name=name, input_tensors=input_tensors, output_tensors=output_tensors)
    estimate = forecast(split.network, number_format=number_format)
    built = build(split, name=name, fmt=fmt, progress=progress)
    files = write_bundle(built, split, output_dir=output_dir, version=version, estimate=estimate)
    size = sum(path.stat().st_size for path in files.values())
    wrote = f"wrote {len(files)} files, {size / 1e6:.1f} MB"
    progress(f"{wrote}, {number_format}, {estimate.latency_ms:.3f} ms on the FPGA")
    return Conversion(output_dir=output_dir, files=files, estimate=estimate, built=built)


def build(split: SplitModel, *, name: str, fmt: NumberFormat, progress: Progress = silent) -> BuiltModel:
    """The served graph and its parts in `fmt`, in memory.

    Raises:
        InvalidWeights: a weight is NaN or infinite.
        UnsupportedModel: front or head can't be brought to the converter's opset, or don't fit the network.
    """
    from accelform.conversion.model import build_model
    from accelform_runtime.errors import NotFinite
    from accelform_runtime.network.packed import pack_parameters

    try:
        packed = pack_parameters(split.network, split.parameters, fmt, progress)
    except NotFinite as error:
        raise InvalidWeights(f"{name}: the weights can't be used: {error}. Train or export the model again.") from error
    return build_model(split, name=name, packed=packed, fmt=fmt)


def choose_tensors(
    split: SplitModel,
    *,
    name: str,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
) -> SplitModel:
    """The model with only those tensors on the wire, in that order; None keeps its own.

    Raises:
        UnknownTensor: the model has no such input or output.
    """
    return dataclasses.replace(
        split,
        inputs=_chosen("input", input_tensors, split.inputs, name),
        outputs=_chosen("output", output_tensors, split.outputs, name),
    )


def number_format_of(name: str) -> NumberFormat:
    """The number format of that name.

    Raises:
        UnknownNumberFormat: there is none.
    """
    from accelform_runtime.errors import UnknownProfile
    from accelform_runtime.numerics.format import load_profile

    try:
        return load_profile(name)
    except UnknownProfile as error:
        raise UnknownNumberFormat(str(error)) from error


def _chosen(
    kind: str, wanted: Sequence[str] | None, available: tuple[TensorInfo, ...], model: str
) -> tuple[TensorInfo, ...]:
    known = {tensor.name: tensor for tensor in available}
    if missing := [tensor for tensor in wanted or () if tensor not in known]:
        raise UnknownTensor(f"{model} has no {kind} tensor {', '.join(missing)}; it has {', '.join(known)}")
    return available if wanted is None else tuple(known[tensor] for tensor in wanted)
