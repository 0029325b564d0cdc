"""Properties in this tree fail by what they find and never by the clock."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parents[2]


def bounds() -> Iterator[tuple[str, dict[str, str]]]:
    """Where a test bounds a property by itself, and by what."""
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
            if "max_examples" in given:
                yield f"{path.relative_to(TESTS)}:{call.lineno}", given


def test_an_example_may_take_its_time() -> None:
    """Neither an example nor the drawing of examples has a time that it may not exceed."""
    assert settings.default is not None
    assert settings.default.deadline is None
    assert HealthCheck.too_slow in settings.default.suppress_health_check


def test_no_property_takes_that_back() -> None:
    """None has a deadline, and where health checks are named the clock's is among them: else it would count again."""
    found = dict(bounds())
    named = {place: given.get("suppress_health_check", "too_slow") for place, given in found.items()}

    assert len(found) > 10
    assert [place for place, given in found.items() if "deadline" in given] == []
    assert [place for place, checks in named.items() if not {"too_slow", "list(HealthCheck)"} & {*_words(checks)}] == []


def _words(checks: str) -> list[str]:
    return [checks] if checks.startswith("list(") else re.findall(r"\w+", checks)
