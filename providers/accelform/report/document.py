"""The report of one conversion as data: everything that the page shows, and `report.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accelform.report._parts import Part, parts_of
from accelform.report._rows import LayerRow, rows_of

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.report.findings import Fidelity
    from accelform_runtime.numerics.format import NumberFormat
    from accelform_runtime.timing.estimate import Estimate

REPORT_SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one conversion made.

    Attributes:
        source: what it was made from, as rows to show: key -> text (`path`, `digest`, `framework`, ...)
        family, family_title: matched; None and "" if none is
        mismatch: why no family matches, in words; empty if one does
        bitstream: Azure ML's id of the FPGA's bitstream; empty: runs in emulation only
        network: scope that layers' names are without
        parts: front, FPGA's part, head
        fidelity: None where nothing was measured
        labels: one per class; empty if there are none
        links: title -> path, relative to the report
    """

    name: str
    version: str
    source: Mapping[str, str]
    family: str | None
    family_title: str
    mismatch: str
    bitstream: str
    number_format: NumberFormat
    estimate: Estimate
    network: str
    parts: tuple[Part, Part, Part]
    layers: tuple[LayerRow, ...]
    fidelity: Fidelity | None
    labels: tuple[str, ...]
    links: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain data: docs/fidelity.md describes it."""
        return {
            "schema": REPORT_SCHEMA,
            "name": self.name,
            "version": self.version,
            "source": dict(self.source),
            "family": self.family,
            "family_title": self.family_title,
            "bitstream": self.bitstream,
            "mismatch": self.mismatch,
            "number_format": self.number_format.as_dict(),
            "estimate": self.estimate.as_dict(),
            "parts": [part.as_dict() for part in self.parts],
            "layers": [layer.as_dict() for layer in self.layers],
            "fidelity": self.fidelity.as_dict() if self.fidelity else None,
            "links": dict(self.links),
        }


def make_report(
    *,
    name: str,
    version: str,
    source: Mapping[str, str],
    split: SplitModel,
    fmt: NumberFormat,
    estimate: Estimate,
    fidelity: Fidelity | None = None,
    links: Mapping[str, str] | None = None,
) -> Report:
    """Puts together what is known; pure, and needs no weights."""
    from accelform.featurizers.bitstreams import bitstream
    from accelform.featurizers.families import FAMILIES

    family = FAMILIES.get(split.family or "")
    return Report(
        name=name,
        version=version,
        source=source,
        family=split.family,
        family_title=family.title if family else "",
        mismatch=split.mismatch,
        bitstream=bitstream(split.family, fmt.name, mismatch=split.mismatch),
        number_format=fmt,
        estimate=estimate,
        network=split.network.name,
        parts=parts_of(split, fmt),
        layers=rows_of(split.network, estimate, fidelity),
        fidelity=fidelity,
        labels=split.labels,
        links=links or {},
    )
