"""Puts the page together. Styles and script are inside it and named by their hashes, so nothing else can run."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

from accelform.report.document import Report
from accelform.report.page import sections
from accelform.report.page.markup import Markup, element, shortened

STYLE, SCRIPT = "page.css", "page.js"


def render(report: Report) -> str:
    """A complete HTML document; the same report gives the same text."""
    style, script = _asset(STYLE), _asset(SCRIPT)
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{shortened(report.name, 80)} on the FPGA"),
        element("style", Markup(style)),
    )
    body = element(
        "body",
        element("main", *(part for part in sections.all_of(report) if part)),
        element("script", Markup(script)),
    )
    return "<!doctype html>\n" + element("html", head, body, lang="en") + "\n"


@cache
def _asset(name: str) -> str:
    text = (resources.files("accelform.report.page") / name).read_text(encoding="utf-8")
    if "</" in text:
        raise ValueError(f"{name} would end its own element")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
