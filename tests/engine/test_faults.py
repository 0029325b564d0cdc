"""kill -9 of the engine or of a provider in the middle of a create: the next `up` converges, and nothing is orphaned.

Here at points of each kind; tests/contract/providers/test_kills.py kills each create at each of its points.
"""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("action", "points"),
    [
        ("kill", ("converted-model:after-reservation", "webservice:after-deploy")),
        ("kill-engine", ("model:after-artifacts", "compute-target:after-provision")),
    ],
)
def test_steps_can_be_killed(project: Any, action: str, points: tuple[str, ...]) -> None:
    """Each `up` is killed further on than the last; the final one succeeds and destroy leaves nothing."""
    given: dict[str, str] = {}
    for point in points:
        outcome = project.up(check=False, ACCELFORM_FAULT_POINT=point, ACCELFORM_FAULT_ACTION=action)
        assert _was_killed(outcome, point, action), f"{point} was not reached:\n{outcome.text}"
        if action == "kill-engine":
            project.pulumi("cancel", "--yes")
        for number, content in _reservations(project).items():
            assert given.setdefault(number, content) == content, f"{number} was given twice"

    project.up()
    assert project.outputs()["model_version"] == 1
    assert project.score().returncode == 0
    assert project.pulumi("preview", "--expect-no-changes").code == 0
    project.destroy()
    assert _leftovers(project) == []


@pytest.mark.timeout(1800)
def test_destroy_right_after_a_kill(project: Any) -> None:
    """What a killed create left is gone after destroy, though the state never heard of it."""
    assert project.up(check=False, ACCELFORM_FAULT_POINT="webservice:after-deploy").code != 0
    project.destroy()
    assert _leftovers(project) == []


def _was_killed(outcome: Any, point: str, action: str) -> bool:
    """Whether the process died at this point: the engine itself, or its plugin while it made that resource."""
    if action == "kill-engine":
        return bool(outcome.code == -signal.SIGKILL)
    kind = point.split(":")[0].title().replace("-", "")
    return outcome.code == 1 and bool(re.search(rf"accel:{kind} .*creating failed.*(EOF|reset|closing)", outcome.text))


def _reservations(project: Any) -> dict[str, str]:
    """Each number taken so far, and for whom and what."""
    found = {}
    for path in project.store.rglob("reservation.json"):
        content = json.loads(path.read_text())
        found[str(path.parent.relative_to(project.store))] = f"{content['owner']} {content['digest']}"
    return found


def _leftovers(project: Any) -> list[str]:
    folder = project.folder / ".accelform"
    return [str(path) for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
