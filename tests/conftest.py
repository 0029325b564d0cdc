"""Puts each test into its ring, and on CI lets no test be skipped for a reason that is not named here."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
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
# Tests of half a minute and more, the longest first.
LONGEST = (
    "engine/test_families.py",
    "engine/test_faults.py",
    "engine/test_moves.py",
    "engine/test_lifecycle.py",
    "contract/runtime/test_probes.py",
    "contract/reliability/test_census.py",
)


def pytest_configure() -> None:
    interrupts.restore()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ring = item.path.relative_to(HERE).parts[0]
        if ring not in RINGS:
            raise pytest.UsageError(f"{item.path} is in no ring; move it below one of tests/{{{','.join(RINGS)}}}")
        item.add_marker(ring)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[int, int]:
    """Rings from the slowest to the quickest, and in each the longest tests last: a worker that has run out of tests
    takes over from the end of another's, while that one is still at the cluster's."""
    path = item.path.relative_to(HERE).as_posix()
    return -RINGS.index(path.split("/")[0]), len(LONGEST) - LONGEST.index(path) if path in LONGEST else 0


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
