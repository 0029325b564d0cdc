"""Time and fidelity along the network as shapes: numbers that templates draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelform.report._rows import LayerRow, group_of
from accelform.report.page.texts import number
from accelform.report.page.words import decibels

HEIGHT = 150
DB_STEP = 10
FEWEST_DB = 20.0
MOST_STAGES = 24
SPARSE = 90
"""Layers up to which the points of a curve are drawn large."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """A layer's time: its height in pixels with the part at its top that waits; left and width in percent."""

    hint: str
    left: float
    width: float
    full: float
    waits: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """A layer's decibels: percent from the left, pixels from the top."""

    hint: str
    left: float
    top: float
    good: bool


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Shapes in execution order, the scale's words from the top down, first and last layer; `limit` is pixels from the
    top, `radius` a point's."""

    shapes: Sequence[Column | Point]
    scale: tuple[str, str, str]
    ends: tuple[str, str]
    limit: float = 0.0
    radius: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage's time: in ms, as a share of the network's and of the longest stage's."""

    name: str
    ms: float
    share: str
    of_longest: float


def columns(rows: Sequence[LayerRow]) -> Plot | None:
    """A column per layer that the FPGA spends time on, in execution order; None without any."""
    timed = [row for row in rows if row.latency_ms is not None]
    if not timed:
        return None
    tallest = longest_ms(timed)
    step = 100 / len(timed)
    shapes = [
        Column(
            hint=_column_hint(row),
            left=index * step + step * 0.09,
            width=step * 0.82,
            full=HEIGHT * (row.latency_ms or 0.0) / tallest,
            waits=HEIGHT * (row.stall_ms or 0.0) / tallest,
        )
        for index, row in enumerate(timed)
    ]
    scale = (f"{tallest:.3f} ms", f"{tallest / 2:.3f}", "0")
    return Plot(shapes=shapes, scale=scale, ends=(timed[0].name, timed[-1].name))


def stages(rows: Sequence[LayerRow]) -> list[Stage]:
    """The network's stages; none where they tell nothing."""
    totals: dict[str, float] = {}
    for row in rows:
        if row.latency_ms is not None:
            totals[group_of(row.name)] = totals.get(group_of(row.name), 0.0) + row.latency_ms
    if not 2 <= len(totals) <= MOST_STAGES:
        return []
    whole, longest = sum(totals.values()) or 1.0, max(totals.values()) or 1.0
    return [
        Stage(name=name, ms=value, share=_percent(value / whole), of_longest=value / longest)
        for name, value in totals.items()
    ]


def decibel_points(rows: Sequence[LayerRow], limit_db: float) -> Plot | None:
    """Signal-to-quantisation-noise of every layer that was looked at, in execution order; None without any."""
    measured = [row for row in rows if row.measured]
    known = [row.sqnr_db for row in measured if row.sqnr_db is not None]
    if not known:
        return None
    top = max(FEWEST_DB, max(known), limit_db)
    top = DB_STEP * -(-top // DB_STEP)
    bottom = max(min(0.0, DB_STEP * (min(known) // DB_STEP)), -top)

    def height(value: float) -> float:
        return HEIGHT * (1 - (max(value, bottom) - bottom) / (top - bottom))

    step = 100 / len(measured)
    values = [top if row.sqnr_db is None else row.sqnr_db for row in measured]
    shapes = [
        Point(
            hint=f"{row.position}. {row.name}: {decibels(row)}",
            left=(index + 0.5) * step,
            top=height(value),
            good=value >= limit_db,
        )
        for index, (row, value) in enumerate(zip(measured, values, strict=True))
    ]
    return Plot(
        shapes=shapes,
        scale=(f"{top:.0f} dB", f"{(top + bottom) / 2:.0f}", f"{bottom:.0f}"),
        ends=(measured[0].name, measured[-1].name),
        limit=height(limit_db),
        radius=3.4 if len(measured) <= SPARSE else 2.4,
    )


def bracket(low: float, value: float, high: float) -> tuple[float, float, float]:
    """Percent from the left of lower bound, forecast and upper bound, on a line from 0."""
    top = high * 1.05 or 1.0
    return 100 * low / top, 100 * value / top, 100 * high / top


def longest_ms(rows: Sequence[LayerRow]) -> float:
    """Of the layers; 1 where none takes time, since widths are shares of it."""
    return max((row.latency_ms or 0.0 for row in rows), default=0.0) or 1.0


def cell(value: float | None, digits: int) -> str:
    """A number in a table, a dash where there is none."""
    return number(value, digits) if value else "–"


def _column_hint(row: LayerRow) -> str:
    total, stall = row.latency_ms or 0.0, row.stall_ms or 0.0
    return f"{row.position}. {row.name}: {total:.4f} ms" + (f", {stall:.4f} ms of it waits" if stall else "")


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
