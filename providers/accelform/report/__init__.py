"""What a conversion made, told to people: fidelity on their images, sweeps over formats, the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelform._base.faces import late

if TYPE_CHECKING:
    from accelform.report.document import Report, make_report
    from accelform.report.feeding import Pixels
    from accelform.report.fidelity import LIMIT_DB, Settings, measure
    from accelform.report.findings import Fidelity, text_db
    from accelform.report.samples import Sample, find_samples
    from accelform.report.writing import write_html, write_json, write_report

__all__ = [
    "LIMIT_DB",
    "Fidelity",
    "Pixels",
    "Report",
    "Sample",
    "Settings",
    "find_samples",
    "make_report",
    "measure",
    "page",
    "sweep",
    "text_db",
    "write_html",
    "write_json",
    "write_report",
]

__getattr__ = late(
    __name__,
    {
        "LIMIT_DB": "fidelity",
        "Fidelity": "findings",
        "Pixels": "feeding",
        "Report": "document",
        "Sample": "samples",
        "Settings": "fidelity",
        "find_samples": "samples",
        "make_report": "document",
        "measure": "fidelity",
        "text_db": "findings",
        "write_html": "writing",
        "write_json": "writing",
        "write_report": "writing",
    },
)
