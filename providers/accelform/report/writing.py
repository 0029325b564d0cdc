"""A report as files: the page, and its data beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.report.document import Report, make_report

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.report.findings import Fidelity
    from accelform_runtime.numerics.format import NumberFormat
    from accelform_runtime.timing.estimate import Estimate

JSON_FILE = "report.json"
HTML_FILE = "report.html"


def write_report(
    *,
    output_dir: Path,
    name: str,
    version: str,
    source: Mapping[str, str],
    split: SplitModel,
    fmt: NumberFormat,
    estimate: Estimate,
    fidelity: Fidelity | None = None,
    links: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Writes `report.html` and `report.json` into `output_dir`; the same arguments give the same bytes.

    `links` are title -> path relative to `output_dir`. Returns file name -> path.
    """
    report = make_report(
        name=name,
        version=version,
        source=source,
        split=split,
        fmt=fmt,
        estimate=estimate,
        fidelity=fidelity,
        links={**(links or {}), JSON_FILE: JSON_FILE},
    )
    output_dir.mkdir(parents=True, exist_ok=True)
    return {
        HTML_FILE: write_html(report, output_dir / HTML_FILE),
        JSON_FILE: write_json(report, output_dir / JSON_FILE),
    }


def write_html(report: Report, path: Path) -> Path:
    """The page."""
    from accelform.report.page import render  # its templates are read where a page is written only

    path.write_text(render(report), encoding="utf-8", newline="\n")
    return path


def write_json(report: Report, path: Path) -> Path:
    """The data."""
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    path.write_text(text.encode("utf-8", "replace").decode(), encoding="utf-8", newline="\n")
    return path
