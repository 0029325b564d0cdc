"""What a conversion made, told to people: fidelity on their images, sweeps over formats, the report."""

from accelform.report.document import Report, make_report
from accelform.report.writing import write_html, write_json, write_report

__all__ = ["Report", "make_report", "write_html", "write_json", "write_report"]
