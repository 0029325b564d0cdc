"""Time and fidelity along the network, as inline SVG whose bars stretch with the page and whose text does not."""

from __future__ import annotations

from collections.abc import Sequence

from accelform.report.page.markup import Markup, element, joined, number, shortened
from accelform.report.rows import LayerRow, group_of

HEIGHT = 150
DB_STEP = 10
FEWEST_DB = 20.0
MOST_STAGES = 24
SPARSE = 90
"""Layers up to which the points of a curve are drawn large."""


def latency_columns(rows: Sequence[LayerRow]) -> Markup:
    """A column per layer that the FPGA spends time on, in execution order; waits for weights on top."""
    timed = [row for row in rows if row.latency_ms is not None]
    if not timed:
        return Markup("")
    tallest = max(row.latency_ms or 0.0 for row in timed) or 1.0
    step = 100 / len(timed)
    columns = [_column(row, index * step, step, tallest) for index, row in enumerate(timed)]
    scale = [f"{tallest:.3f} ms", f"{tallest / 2:.3f}", "0"]
    svg = element(
        "svg", _grid(3), *columns, class_="latency-columns", role="img", aria_label="milliseconds of every layer"
    )
    return _plot(svg, scale, [timed[0].name, "layers in execution order", timed[-1].name])


def latency_groups(rows: Sequence[LayerRow]) -> Markup:
    """A bar per stage of the network; its width is proportional to the time. Empty where stages tell nothing."""
    totals: dict[str, float] = {}
    for row in rows:
        if row.latency_ms is not None:
            totals[group_of(row.name)] = totals.get(group_of(row.name), 0.0) + row.latency_ms
    if not 2 <= len(totals) <= MOST_STAGES:
        return Markup("")
    whole, longest = sum(totals.values()) or 1.0, max(totals.values()) or 1.0
    cells = [
        joined(
            element("span", shortened(name, 60), class_="name"),
            bar(value / longest, "of-compute", hint=f"{name}: {value:.4f} ms", class_="group-bar"),
            element("span", f"{value:.3f} ms · {_percent(value / whole)}", class_="value"),
        )
        for name, value in totals.items()
    ]
    return element("div", *cells, class_="groups")


def bracket(low: float, value: float, high: float) -> Markup:
    """Lower bound, forecast and upper bound on one line from 0."""
    top = high * 1.05 or 1.0
    left, middle, right = (f"{100 * part / top:.3f}%" for part in (low, value, high))
    return element(
        "svg",
        element("rect", x=0, y=7, width="100%", height=6, rx=3, class_="track"),
        element("line", x1=left, x2=right, y1=10, y2=10, class_="range"),
        element("line", x1=left, x2=left, y1=4, y2=16, class_="range"),
        element("line", x1=right, x2=right, y1=4, y2=16, class_="range"),
        element("circle", cx=middle, cy=10, r=5, class_="of-compute"),
        class_="bracket", width="100%", height=20, role="img",
        aria_label=f"from {low:.3f} to {high:.3f} ms, forecast {value:.3f} ms",
    )  # fmt: skip


def fidelity_curve(rows: Sequence[LayerRow], limit_db: float) -> Markup:
    """Signal-to-quantisation-noise of every layer that was looked at, in execution order."""
    measured = [row for row in rows if row.measured]
    known = [row.sqnr_db for row in measured if row.sqnr_db is not None]
    if not known:
        return Markup("")
    top = max(FEWEST_DB, max(known), limit_db)
    top = DB_STEP * -(-top // DB_STEP)
    bottom = min(0.0, DB_STEP * (min(known) // DB_STEP))
    bottom = max(bottom, -top)

    def height(value: float) -> float:
        return HEIGHT * (1 - (max(value, bottom) - bottom) / (top - bottom))

    step = 100 / len(measured)
    centres = [(index + 0.5) * step for index in range(len(measured))]
    shapes: list[Markup] = [
        element("line", x1="0", x2="100%", y1=height(limit_db), y2=height(limit_db), class_="limit"),
        element(
            "svg",
            element("polyline", class_="curve", points=" ".join(
                f"{centre:.3f},{height(row.sqnr_db if row.sqnr_db is not None else top):.2f}"
                for centre, row in zip(centres, measured, strict=True)
            )),
            viewBox=f"0 0 100 {HEIGHT}", preserveAspectRatio="none", x=0, y=0, width="100%", height=HEIGHT,
        ),
    ]  # fmt: skip
    for centre, row in zip(centres, measured, strict=True):
        value = top if row.sqnr_db is None else row.sqnr_db
        good = "of-good" if value >= limit_db else "of-bad"
        text = f"{row.position}. {row.name}: {decibel_text(row)}"
        shapes.append(
            element(
                "circle", element("title", shortened(text, 240)),
                cx=f"{centre:.3f}%", cy=height(value), r=3.4 if len(measured) <= SPARSE else 2.4, class_=good,
            )
        )  # fmt: skip
    scale = [f"{top:.0f} dB", f"{(top + bottom) / 2:.0f}", f"{bottom:.0f}"]
    svg = element("svg", _grid(3), *shapes, class_="fidelity-curve", role="img", aria_label="decibels of every layer")
    return _plot(svg, scale, [measured[0].name, "layers in execution order", measured[-1].name])


def bar(share: float, colour: str, *, hint: str = "", class_: str = "bar") -> Markup:
    """A bar as wide as `share` of its track."""
    return element(
        "svg",
        element("title", hint) if hint else None,
        element("rect", width="100%", height="100%", rx=3, class_="track"),
        element("rect", width=f"{100 * min(max(share, 0.0), 1.0):.3f}%", height="100%", rx=3, class_=colour),
        class_=class_,
        aria_hidden="true",
    )


def decibel_text(row: LayerRow) -> str:
    """`23.4 dB`, `exact`, or a dash where nothing was measured."""
    if not row.measured:
        return "–"
    return "exact" if row.sqnr_db is None else f"{number(row.sqnr_db, 1)} dB"


def _column(row: LayerRow, left: float, step: float, tallest: float) -> Markup:
    total, stall = row.latency_ms or 0.0, row.stall_ms or 0.0
    hint = f"{row.position}. {row.name}: {total:.4f} ms" + (f", {stall:.4f} ms of it waits" if stall else "")
    width, place = f"{step * 0.82:.3f}%", f"{left + step * 0.09:.3f}%"
    full, waits = HEIGHT * total / tallest, HEIGHT * stall / tallest
    shapes = [element("rect", x=place, width=width, y=HEIGHT - full + waits, height=full - waits, class_="of-compute")]
    if waits:
        shapes.append(element("rect", x=place, width=width, y=HEIGHT - full, height=waits, class_="of-wait"))
    return element("g", element("title", shortened(hint, 240)), *shapes, class_="column")


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"


def _grid(lines: int) -> Markup:
    places = [HEIGHT * index / (lines - 1) for index in range(lines)]
    return joined([element("line", x1="0", x2="100%", y1=place, y2=place, class_="grid") for place in places])


def _plot(svg: Markup, scale: Sequence[str], under: Sequence[str]) -> Markup:
    return element(
        "div",
        element("div", [element("span", text) for text in scale], class_="scale"),
        svg,
        element("div", [element("span", shortened(text, 48)) for text in under], class_="under"),
        class_="plot",
    )
