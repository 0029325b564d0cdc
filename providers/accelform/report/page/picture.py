"""The split drawn: front on the CPU, network on the FPGA, head on the CPU; one drawing per screen width."""

from __future__ import annotations

from dataclasses import dataclass

from accelform.report._parts import Part
from accelform.report.page.texts import amount, number, shortened

TITLES = {"front": "Front", "fpga": "Network", "head": "Head"}
LINE = 19
PADDING = 16
ARROW = 44
WIDE, NARROW = 1150, 340
KINDS_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part's box and the arrow that leaves it, `(x1, y1, x2, y2)`; places in the drawing's units."""

    kind: str
    hint: str
    title: str
    lines: tuple[str, ...]
    left: float
    top: float
    width: float
    height: float
    arrow: tuple[float, float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Three boxes; `ends` is what is read and given, where it stands below them."""

    kind: str
    width: float
    height: float
    boxes: tuple[Box, ...]
    ends: tuple[str, str] | None = None


def drawings(parts: tuple[Part, Part, Part]) -> tuple[Drawing, Drawing]:
    """Wide and narrow; the style shows the one that fits."""
    return _wide(parts), _narrow(parts)


def lines_of(part: Part) -> list[str]:
    """What stands in a part's box."""
    if not part.layers:
        return [part.what]
    lines = [part.what, f"{number(part.layers)} {'layer' if part.layers == 1 else 'layers'}"]
    if part.parameters:
        lines[-1] += f", {amount(part.parameters)} parameters"
        lines.append(amount(part.parameter_bytes, "B"))
    if part.multiply_accumulates:
        text = f"{amount(part.multiply_accumulates)} MACs"
        lines[-1:] = [f"{lines[-1]}, {text}"] if part.parameters else [lines[-1], text]
    kinds = [f"{count} {kind}" for kind, count in list(part.kinds.items())[:KINDS_SHOWN]]
    rest = len(part.kinds) - KINDS_SHOWN
    lines += [", ".join(kinds[:2]), ", ".join([*kinds[2:], *([f"{rest} more kinds"] if rest > 0 else [])])]
    return [line for line in lines if line]


def _wide(parts: tuple[Part, Part, Part]) -> Drawing:
    height = 2 * PADDING + LINE * (1.6 + max(len(lines_of(part)) for part in parts))
    side = (WIDE - 2 * ARROW) / 3.3
    boxes, left = [], 0.0
    for index, (part, width) in enumerate(zip(parts, (side, side * 1.3, side), strict=True)):
        end, middle = left + width, height / 2
        arrow = (end + 6, middle, end + ARROW - 6, middle) if index < len(parts) - 1 else None
        boxes.append(_box(part, left, 0.0, width, height, letters=int(width / 7.2), arrow=arrow))
        left = end + ARROW
    ends = f"reads {', '.join(parts[0].reads)}", f"gives {', '.join(parts[2].gives)}"
    return Drawing(kind="split-wide", width=WIDE, height=height + LINE + 10, boxes=tuple(boxes), ends=ends)


def _narrow(parts: tuple[Part, Part, Part]) -> Drawing:
    boxes, top = [], 0.0
    for index, part in enumerate(parts):
        height = 2 * PADDING + LINE * (1.4 + len(lines_of(part)))
        end, middle = top + height, NARROW / 2
        last = index == len(parts) - 1
        arrow = None if last else (middle, end + 4, middle, end + ARROW / 2 + 6)
        boxes.append(_box(part, 0.0, top, NARROW, height, letters=int(NARROW / 7.4), arrow=arrow))
        top = end if last else end + ARROW / 2 + 10
    return Drawing(kind="split-narrow", width=NARROW, height=top + 1, boxes=tuple(boxes))


def _box(
    part: Part,
    left: float,
    top: float,
    width: float,
    height: float,
    *,
    letters: int,
    arrow: tuple[float, float, float, float] | None,
) -> Box:
    return Box(
        kind=part.place.lower(),
        hint=f"reads {', '.join(part.reads)}; gives {', '.join(part.gives)}",
        title=f"{TITLES[part.part]} · {part.place}",
        lines=tuple(shortened(line, letters) for line in lines_of(part)),
        left=left,
        top=top,
        width=width,
        height=height,
        arrow=arrow,
    )
