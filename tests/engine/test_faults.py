"""kill -9 between any two steps of a create: the next `up` converges, no number is given twice, nothing is orphaned."""

from __future__ import annotations

import json
import re
import signal
from typing import Any

import pytest

from accelform.faults import FAULT_POINTS


@pytest.mark.timeout(900)
@pytest.mark.parametrize("action", ["kill", "kill-engine"])
def test_every_step_can_be_killed(project: Any, action: str) -> None:
    """Each `up` is killed one step further than the last; the final one succeeds and destroy leaves nothing."""
    given: dict[str, str] = {}
    for point in _in_create_order():
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


@pytest.mark.timeout(600)
def test_destroy_right_after_a_kill(project: Any) -> None:
    """What a killed create left is gone after destroy, though the state never heard of it."""
    for point in ("model:after-manifest", "image:after-artifacts", "webservice:after-deploy"):
        assert project.up(check=False, ACCELFORM_FAULT_POINT=point).code != 0
        project.destroy()
        assert _leftovers(project) == [], point


def _was_killed(outcome: Any, point: str, action: str) -> bool:
    """Whether the process died at this point: the engine itself, or its plugin while it made that resource."""
    if action == "kill-engine":
        return bool(outcome.code == -signal.SIGKILL)
    kind = point.split(":")[0].title().replace("-", "")
    return outcome.code == 1 and bool(re.search(rf"accel:{kind} .*creating failed.*(EOF|reset|closing)", outcome.text))


def _in_create_order() -> list[str]:
    order = ("workspace", "model", "converted-model", "image", "compute-target", "webservice")
    return sorted(FAULT_POINTS, key=lambda point: order.index(point.split(":")[0]))


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
