"""Texts and numbers as people read them on the page."""

from __future__ import annotations

import math
import unicodedata
from urllib.parse import quote

from markupsafe import Markup, escape

LONGEST_TEXT = 160

_TURNS_TEXT_AROUND = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")


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
    return Markup("/<wbr>").join(escape(visible(part)) for part in path.split("/"))


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
