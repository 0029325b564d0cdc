"""Puts each test into its ring, and on CI lets no test be skipped for a reason that is not named here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

RINGS = ("unit", "contract", "engine", "cluster")
# Reasons (how they begin) for which a test may be skipped when CI=true; any other skip fails the run.
# CI installs TensorFlow and a browser, but is not root and cannot take a machine apart.
ALLOWED_SKIPS: tuple[str, ...] = ("only root may ",)
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ring = item.path.relative_to(HERE).parts[0]
        if ring not in RINGS:
            raise pytest.UsageError(f"{item.path} is in no ring; move it below one of tests/{{{','.join(RINGS)}}}")
        item.add_marker(ring)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("CI") != "true" or session.exitstatus != pytest.ExitCode.OK:
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = terminal.stats.get("skipped", []) if terminal else []
    reasons = [(report.nodeid, report.longrepr[2].removeprefix("Skipped: ")) for report in skipped]
    refused = [f"{test}: {reason}" for test, reason in reasons if not reason.startswith(ALLOWED_SKIPS)]
    if refused:
        terminal.write_line("\nskipped on CI for a reason that tests/conftest.py does not allow:", red=True)
        for line in refused:
            terminal.write_line(f"  {line}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
