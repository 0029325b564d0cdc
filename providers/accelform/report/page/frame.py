"""The shapes that sections share."""

from __future__ import annotations

from accelform.report.page.markup import Markup, element


def section(title: str, lede: str, *content: Markup | None) -> Markup:
    return element("section", element("h2", title), element("p", lede, class_="lede") if lede else None, *content)


def tile(title: str, value: str, unit: str, note: str) -> Markup:
    return element(
        "div",
        element("dt", title),
        element("dd", value, " " if unit else None, element("small", unit) if unit else None),
        element("p", note),
        class_="tile",
    )
