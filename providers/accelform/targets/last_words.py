"""What a server's log says about its end: the last error, else the last line."""

from __future__ import annotations

import json
from collections.abc import Sequence


def last_words(lines: Sequence[str]) -> str:
    """The newest line that tells what went wrong: the last error, else the last line; "" where there is none."""
    lines = [line for line in lines if line.strip()]
    for line in reversed(lines):
        entry = _entry(line)
        if entry and entry.get("event") == "error":
            return _text(entry)
    if not lines:
        return ""
    entry = _entry(lines[-1])
    return _text(entry) if entry else lines[-1].strip()


def _entry(line: str) -> dict[str, object] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _text(entry: dict[str, object]) -> str:
    return str(entry.get("message") or entry.get("problem") or entry.get("event") or entry)
