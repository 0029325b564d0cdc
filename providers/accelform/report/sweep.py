"""One model in several number formats: what each costs and what each keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from accelform._base.progress import Progress, silent
from accelform.errors import UnknownNumberFormat
from accelform.report.fidelity import Settings, compare, need_some, open_float32
from accelform.report.findings import Fidelity

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.report.samples import Sample
    from accelform_runtime.numerics.format import NumberFormat
    from accelform_runtime.timing.estimate import Estimate

REMEMBERED_BYTES = 256 << 20
CHOSEN = "chosen: on the command line, instead of {value}"


@dataclass(frozen=True, kw_only=True)
class SweepRow:
    """One number format."""

    number_format: NumberFormat
    fidelity: Fidelity
    estimate: Estimate

    def as_dict(self) -> dict[str, Any]:
        """Plain data; `knobs` are those that the number format has, `estimate` is without layers."""
        estimate = self.estimate.as_dict()
        del estimate["layers"]
        return {
            "number_format": self.number_format.as_dict(),
            "bits_per_weight": self.number_format.bits_per_value,
            "fidelity": self.fidelity.as_dict(),
            "estimate": estimate,
        }


def sweep(
    split: SplitModel,
    samples: Sequence[Sample],
    formats: Sequence[NumberFormat],
    *,
    settings: Settings | None = None,
    progress: Progress = silent,
) -> tuple[SweepRow, ...]:
    """Measures every format on the same samples, one after the other: memory is that of two graphs.

    Raises:
        CalibrationUnusable: there are no samples, or one does not fit.
        InvalidWeights, UnsupportedModel: the model can't be built.
    """
    from accelform.featurizers.forecast import FPGA
    from accelform_runtime.timing.estimate import estimate
    from accelform_runtime.timing.spec import load_spec

    need_some(samples)
    settings = replace(settings or Settings(), layers=False)
    reference = open_float32(split, settings, remember_bytes=REMEMBERED_BYTES)
    layers, spec = split.network.conv_layers(), load_spec(FPGA)
    return tuple(
        SweepRow(
            number_format=fmt,
            fidelity=compare(split, samples, fmt=fmt, reference=reference, settings=settings, progress=progress),
            estimate=estimate(layers, spec, fmt),
        )
        for fmt in formats
    )


def variants(
    bases: Sequence[NumberFormat],
    *,
    mantissa_bits: Sequence[int] = (),
    block_sizes: Sequence[int] = (),
    roundings: Sequence[str] = (),
) -> tuple[NumberFormat, ...]:
    """Each base with every combination of the knobs; no values leave a knob as it is.

    Raises:
        UnknownNumberFormat: a combination that the definition doesn't know.
    """
    knobs = {"mantissa_bits": mantissa_bits, "block_size": block_sizes, "rounding": roundings}
    turned = {knob: values for knob, values in knobs.items() if values}
    found: dict[str, NumberFormat] = {}
    for base in bases:
        for values in product(*turned.values()) if base.quantised else ((),):
            fmt = _turned(base, dict(zip(turned, values, strict=False)))
            found.setdefault(fmt.name, fmt)
    return tuple(found.values())


def _turned(base: NumberFormat, knobs: dict[str, Any]) -> NumberFormat:
    changes = {knob: value for knob, value in knobs.items() if getattr(base, knob) != value}
    if not changes:
        return base
    words = " ".join(f"{SHORT[knob]}={value}" for knob, value in changes.items())
    sources = {knob: CHOSEN.format(value=getattr(base, knob)) for knob in changes}
    try:
        return replace(
            base,
            name=f"{base.name} {words}",
            title=f"{base.title}, with {words}",
            provenance={**base.provenance, **sources},
            **changes,
        )
    except ValueError as error:
        raise UnknownNumberFormat(f"{base.name} can't have {words}: {error}") from error


SHORT = {"mantissa_bits": "m", "block_size": "N", "rounding": "rounding"}
