"""Writes HTML and SVG. Text is escaped unless this module made it, so a stranger's name can't become markup."""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import quote

LONGEST_TEXT = 160
VOID = frozenset({"meta", "link", "wbr"})

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_TURNS_TEXT_AROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


class Markup(str):
    """A piece of HTML."""

    __slots__ = ()


Child = str | int | None | Sequence["Child"]


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """`<tag attributes>children</tag>`; attributes that are None or False are left out, True stands alone.

    `_` in an attribute's name becomes `-`, and one at its end is dropped (`class_`). Lists of children are flattened.
    """
    if not _NAME.fullmatch(tag):
        raise ValueError(f"{tag!r} is no element")
    start = "".join([tag, *(_attribute(key, value) for key, value in attributes.items())])
    return Markup(f"<{start}>" if tag in VOID else f"<{start}>{joined(*children)}</{tag}>")


def joined(*children: Child) -> Markup:
    """Children one after the other."""
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, (str, int)):
            parts.append(html.escape(visible(str(child))))
        elif child is not None:
            parts.append(joined(*child))
    return Markup("".join(parts))


def visible(text: str) -> str:
    """`text` with characters that hide, break or turn around text replaced by U+FFFD."""
    return "".join(
        "\ufffd" if character in _TURNS_TEXT_AROUND or unicodedata.category(character) in ("Cc", "Cs") else character
        for character in text
    )


def shortened(text: str, longest: int = LONGEST_TEXT) -> str:
    """At most `longest` characters: begin and end of `text` with an ellipsis between."""
    if len(text) <= longest:
        return text
    end = (longest - 1) // 2
    return f"{text[: longest - 1 - end]}…{text[-end:]}"


def breakable(path: str) -> Markup:
    """`path` with places after its slashes where a line may end."""
    first, *rest = path.split("/")
    return joined(first, [["/", element("wbr"), part] for part in rest])


def relative_link(path: str) -> str:
    """An address that can't leave for another scheme or host: `path` below the page's folder, or above by `../`."""
    return "./" + quote(path.lstrip("/"), safe="/.-_~")


def number(value: float, digits: int = 0) -> str:
    """With thin spaces between thousands: `1 234.5`."""
    return f"{value:,.{digits}f}".replace(",", "\u2009")


def figures(value: float, least: int = 0) -> str:
    """Three significant digits, more before the point, at least `least` after it: `1.79`, `0.0149`, `79 935`."""
    if value == 0 or not math.isfinite(value):
        return number(value, least)
    return number(value, max(least, 2 - math.floor(math.log10(abs(value)))))


def amount(value: float, unit: str = "") -> str:
    """With a decimal prefix: `3.5 G`, `17.7 MB`, `412 B`."""
    for power, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.1f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {name}"
    text = f"{value:.6g}" if isinstance(value, float) else visible(str(value))
    return f' {name}="{html.escape(text, quote=True)}"'
