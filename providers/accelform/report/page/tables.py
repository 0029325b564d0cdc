"""The page's tables: layers, knobs of the number format, where each number is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from accelform.report.page.charts import bar, decibel_text
from accelform.report.page.markup import Markup, breakable, element, joined, number, shortened
from accelform.report.rows import LayerRow

if TYPE_CHECKING:
    from accelform_runtime.numerics.format import NumberFormat

MARKS = ("sourced", "chosen", "fitted", "analytic")
NONE = "–"


def layer_table(rows: Sequence[LayerRow], *, limit_db: float | None) -> Markup:
    """One row per layer; `limit_db` adds the measured column."""
    heads = [("#", True), ("Layer", False), ("Kind", False), ("Output", True), ("MMACs", True)]
    heads += [("Weights MB", True), ("Cycles", True), ("Use", True), ("Stall ms", True), ("Time ms", True)]
    if limit_db is not None:
        heads.append(("SQNR dB", True))
    longest = max((row.latency_ms or 0.0 for row in rows), default=0.0) or 1.0
    head = element("thead", element("tr", [
        element("th", element("button", text, type="button"), scope="col", class_="figure" if figure else None)
        for text, figure in heads
    ]))  # fmt: skip
    body = element("tbody", [_row(row, longest, limit_db) for row in rows])
    return _wide(element("table", head, body, class_="layers sortable"), "table of layers")


def knob_table(fmt: NumberFormat) -> Markup:
    """A row per knob: value, mark, source."""
    rows = [
        element(
            "tr",
            element("th", knob.replace("_", " "), scope="row"),
            element("td", element("code", _value(getattr(fmt, knob)))),
            element("td", marked(source)),
        )
        for knob, source in sorted(fmt.provenance.items(), key=lambda item: _position(fmt, item[0]))
    ]
    head = element("thead", element("tr", [element("th", text, scope="col") for text in ("Knob", "Value", "Source")]))
    return element("table", head, element("tbody", rows), class_="knobs")


def provenance_list(values: Mapping[str, str], provenance: Mapping[str, str]) -> Markup:
    """Value by value: what it is and how it was obtained."""
    rows = [
        joined(element("dt", key.replace("_", " ").replace("fpga.", "FPGA: ")), element("dd", _fact(key, values, text)))
        for key, text in provenance.items()
    ]
    return element("dl", *rows, class_="facts provenance")


def marked(source: str) -> Markup:
    """`sourced: a; chosen: b` with each word as a mark before its text."""
    found: list[Markup] = []
    pieces = [source]
    for mark in MARKS:
        pieces = [part for piece in pieces for part in _cut(piece, f"; {mark}: ")]
    for piece in pieces:
        mark, _, text = piece.partition(": ")
        if mark in MARKS:
            found += [element("span", mark, class_=f"mark {mark}"), joined(text, " ")]
        else:
            found.append(joined(piece, " "))
    return joined(found)


def _cut(piece: str, between: str) -> list[str]:
    first, *rest = piece.split(between)
    return [first, *(between.removeprefix("; ") + part for part in rest)]


def _row(row: LayerRow, longest: float, limit_db: float | None) -> Markup:
    height, width, channels = row.shape
    cells = [
        _figure(row.position, number(row.position)),
        element("th", element("span", breakable(shortened(row.name)), class_="name"), scope="row"),
        element("td", row.kind, element("div", row.settings, class_="soft settings") if row.settings else None),
        _figure(
            height * width * channels, element("span", f"{height} × {width} × {channels}", class_="shape"),
        ),
        _figure(row.multiply_accumulates, _amount(row.multiply_accumulates / 1e6, 2)),
        _figure(row.weight_bytes, _amount(None if row.weight_bytes is None else row.weight_bytes / 1e6, 3)),
        _figure(row.cycles, _amount(row.cycles, 0)),
        _figure(row.utilisation, NONE if row.utilisation is None else f"{row.utilisation:.0%}"),
        _figure(row.stall_ms, _amount(row.stall_ms, 4)),
        _figure(row.latency_ms, _time(row, longest)),
    ]  # fmt: skip
    if limit_db is not None:
        wrong = row.sqnr_db is not None and row.sqnr_db < limit_db
        value = 1e9 if row.exact else row.sqnr_db
        text = decibel_text(row).removesuffix(" dB")
        cells.append(_figure(value, element("span", text, class_="bad" if wrong else None)))
    return element("tr", *cells)


def _time(row: LayerRow, longest: float) -> Markup:
    if row.latency_ms is None:
        return joined(NONE)
    return joined(f"{row.latency_ms:.4f}", bar(row.latency_ms / longest, "of-compute"))


def _figure(value: float | None, text: str) -> Markup:
    return element("td", text, class_="figure", data_value="" if value is None else float(value))


def _amount(value: float | None, digits: int) -> str:
    return NONE if not value else number(value, digits)


def _value(value: object) -> str:
    return NONE if value is None else str(value)


def _position(fmt: NumberFormat, knob: str) -> int:
    return list(type(fmt).__dataclass_fields__).index(knob)


def _fact(key: str, values: Mapping[str, str], text: str) -> Markup:
    value = values.get(key)
    return joined(element("strong", value), " " if value else None, marked(text)) if value else marked(text)


def _wide(table: Markup, label: str) -> Markup:
    return element("div", table, class_="wide", tabindex="0", role="region", aria_label=label)
