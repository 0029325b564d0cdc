"""Puts each test into its ring, runs the longest files first, and tells what each ring took; on CI no test is skipped
for a reason that is not named here."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.support import seconds
from tools import interrupts

RINGS = ("unit", "contract", "engine", "cluster")
# Reasons (how they begin) for which a test may be skipped when CI=true; any other skip fails the run.
# CI installs TensorFlow, a browser and, as root on Debian, what a cluster needs. Where it is not root it cannot take a
# machine apart, and has no cluster.
ALLOWED_SKIPS: tuple[str, ...] = ("only root may ", "a test cluster needs ")
HERE = Path(__file__).parent
# No property fails by the clock, neither by an example's deadline nor by how long drawing examples takes: the machine
# may be busy. On CI the same examples are drawn each time, so that a failure is the change's; elsewhere new ones are.
hypothesis.settings.register_profile(
    "accelform",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
)
hypothesis.settings.load_profile("accelform")
SLOWEST = 10
"""Files that are named after a run, with the seconds that their tests took."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-seconds", action="store_true", help="write what each file took to tests/seconds.tsv")


def pytest_configure() -> None:
    interrupts.restore()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks each test with its ring, and as long where its file is; the files that take longest come first."""
    recorded = seconds.read()
    for item in items:
        ring = item.path.relative_to(HERE).parts[0]
        if ring not in RINGS:
            raise pytest.UsageError(f"{item.path} is in no ring; move it below one of tests/{{{','.join(RINGS)}}}")
        item.add_marker(ring)
        if recorded.get(seconds.file_of(item.nodeid), 0.0) >= seconds.LONG_SECONDS:
            item.add_marker("long")
    items.sort(key=lambda item: -recorded.get(seconds.file_of(item.nodeid), 0.0))


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadfile":
        return None
    from tests.support import scheduling, turns

    return scheduling.FilesWithRoom(config, log, need=turns.nodes_needed, room=turns.NODE_COUNT)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Tells how many tests each ring had and what they took, and the slowest files; records that where asked to."""
    reports = [row for rows in terminalreporter.stats.values() for row in rows if isinstance(row, pytest.TestReport)]
    if not reports:
        return
    took = seconds.by_file(reports)
    counts = Counter(_ring(nodeid) for nodeid in {report.nodeid for report in reports})
    terminalreporter.section("rings")
    for ring in (ring for ring in RINGS if ring in counts):
        of_ring = sum(value for file, value in took.items() if _ring(file) == ring)
        terminalreporter.write_line(f"{ring:<9}{counts[ring]:>6,} tests, {of_ring:>6,.0f} s of the workers' time")
    slowest = [f"{file} {took[file]:.0f} s" for file in sorted(took, key=lambda file: -took[file])[:SLOWEST]]
    terminalreporter.write_line(f"slowest: {', '.join(slowest)}")
    if config.getoption("--record-seconds"):
        seconds.write(took)


def _ring(nodeid: str) -> str:
    return nodeid.split("/")[1]


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
