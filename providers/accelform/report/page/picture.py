"""The split drawn: front on the CPU, network on the FPGA, head on the CPU; one drawing per screen width."""

from __future__ import annotations

from accelform.report.page.markup import Markup, amount, element, number, shortened
from accelform.report.parts import Part

TITLES = {"front": "Front", "fpga": "Network", "head": "Head"}
LINE = 19
PADDING = 16
ARROW = 44
WIDE, NARROW = 1150, 340
KINDS_SHOWN = 4


def picture(parts: tuple[Part, Part, Part]) -> Markup:
    """Both drawings; the style shows the one that fits."""
    return Markup(_wide(parts) + _narrow(parts))


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
    return [*lines, ", ".join(kinds[:2]), ", ".join([*kinds[2:], *([f"{rest} more kinds"] if rest > 0 else [])])]


def _wide(parts: tuple[Part, Part, Part]) -> Markup:
    texts = [[line for line in lines_of(part) if line] for part in parts]
    height = 2 * PADDING + LINE * (1.6 + max(len(lines) for lines in texts))
    side = (WIDE - 2 * ARROW) / 3.3
    widths = (side, side * 1.3, side)
    shapes, left = [], 0.0
    for index, (part, lines, width) in enumerate(zip(parts, texts, widths, strict=True)):
        shapes += _box(part, lines, left, 0.0, width, height, letters=int(width / 7.2))
        left += width
        if index < len(parts) - 1:
            shapes += [_arrow(left + 6, height / 2, left + ARROW - 6, height / 2)]
            left += ARROW
    ends = f"reads {_names(parts[0].reads)}", f"gives {_names(parts[2].gives)}"
    below = height + LINE + 4
    shapes += [
        element("text", shortened(ends[0], 78), x=2, y=below, font_size=12.5, class_="soft"),
        element("text", shortened(ends[1], 78), x=WIDE - 2, y=below, font_size=12.5, class_="soft", text_anchor="end"),
    ]
    return _drawing("split-wide", WIDE, below + 6, shapes)


def _narrow(parts: tuple[Part, Part, Part]) -> Markup:
    shapes, top = [], 0.0
    for index, part in enumerate(parts):
        lines = [line for line in lines_of(part) if line]
        height = 2 * PADDING + LINE * (1.4 + len(lines))
        shapes += _box(part, lines, 0.0, top, NARROW, height, letters=int(NARROW / 7.4))
        top += height
        if index < len(parts) - 1:
            shapes += [_arrow(NARROW / 2, top + 4, NARROW / 2, top + ARROW / 2 + 6)]
            top += ARROW / 2 + 10
    return _drawing("split-narrow", NARROW, top + 1, shapes)


def _drawing(kind: str, width: float, height: float, shapes: list[Markup]) -> Markup:
    return element(
        "svg",
        *shapes,
        class_=kind,
        viewBox=f"-1 -1 {width + 2:.0f} {height + 2:.0f}",
        role="img",
        aria_label="front on the CPU, network on the FPGA, head on the CPU",
    )


def _box(
    part: Part, lines: list[str], left: float, top: float, width: float, height: float, *, letters: int
) -> list[Markup]:
    kind = part.place.lower()
    hint = "; ".join((f"reads {_names(part.reads)}", f"gives {_names(part.gives)}"))
    shapes = [
        element(
            "rect", element("title", shortened(hint, 600)),
            x=left, y=top, width=width, height=height, rx=12, class_=f"box-{kind}",
        ),
        element(
            "text", f"{TITLES[part.part]} · {part.place}",
            x=left + PADDING, y=top + PADDING + 13, font_size=16, font_weight=620, class_=f"title-{kind}",
        ),
    ]  # fmt: skip
    for index, line in enumerate(lines):
        shapes.append(
            element(
                "text", shortened(line, letters),
                x=left + PADDING, y=top + PADDING + 13 + LINE * (index + 1.3), font_size=13.5,
                class_="soft" if index in (0, len(lines) - 1, len(lines) - 2) and len(lines) > 1 else None,
            )
        )  # fmt: skip
    return shapes


def _arrow(x1: float, y1: float, x2: float, y2: float) -> Markup:
    head = f"M{x2} {y2} l-8 -4.5 v9 z" if y1 == y2 else f"M{x2} {y2} l-4.5 -8 h9 z"
    return element(
        "g",
        element("line", x1=x1, y1=y1, x2=x2 - (4 if y1 == y2 else 0), y2=y2 - (0 if y1 == y2 else 4), class_="arrow"),
        element("path", d=head, class_="arrowhead"),
    )


def _names(tensors: tuple[str, ...]) -> str:
    return ", ".join(tensors)
