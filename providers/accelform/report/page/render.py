"""Puts the page together. Styles and script are inside it and named by their hashes, so nothing else can run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from accelform.report.document import Report
from accelform.report.page import charts, picture, texts, words

STYLE, SCRIPT, PAGE = "page.css", "page.js", "page.html"
HERE = "accelform.report.page"


def render(report: Report) -> str:
    """A complete HTML document; the same report gives the same text."""
    style, script = _asset(STYLE), _asset(SCRIPT)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    fidelity = report.fidelity
    return environment().get_template(PAGE).render(
        report=report,
        policy=policy,
        style=style,
        script=script,
        tiles=words.tiles(report),
        limit_db=fidelity.limit_db if fidelity and fidelity.layers else None,
        words=words,
        charts=charts,
        picture=picture,
    )  # fmt: skip


@cache
def environment() -> Environment:
    """The templates. Whatever they are given is escaped, so a stranger's name can't become markup; a name that is not
    there is an error."""
    found = Environment(
        loader=PackageLoader(HERE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {
        "amount": texts.amount,
        "breakable": texts.breakable,
        "decibels": words.decibels,
        "figures": texts.figures,
        "marked": words.marked,
        "number": texts.number,
        "relative_link": texts.relative_link,
        "shortened": texts.shortened,
        "spec": format,
    }
    return found


def _shown(value: Any) -> Any:
    """What a template writes of a value: a number with six digits, a text without characters that hide or turn it."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else texts.visible(str(value))


@cache
def _asset(name: str) -> Markup:
    text = (resources.files(HERE) / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{name} would end its own element")
    return Markup(text)


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
