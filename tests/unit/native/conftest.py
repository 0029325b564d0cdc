"""Libraries under the sanitisers are built before the first test: building one may take longer than a test may."""

from __future__ import annotations

import pytest
from tools.fuzz import sanitised


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = {item.callspec.params["sanitiser"] for item in session.items if _is_sanitised(item)}  # type: ignore[attr-defined]
    for name in sorted(wanted):
        if sanitised.problem(name) is None:
            sanitised.library(name)


def _is_sanitised(item: pytest.Item) -> bool:
    return "sanitiser" in getattr(getattr(item, "callspec", None), "params", {})
