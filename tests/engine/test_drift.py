"""Things that change behind Pulumi's back: `refresh` shows them, `up` repairs them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.support.waiting import wait_for

from accelform.targets.edge import EdgeBox
from accelform.targets.edge import processes as box_processes
from accelform.targets.edge.layout import Layout


@pytest.mark.timeout(600)
def test_drift_is_shown_and_repaired(project: Any) -> None:
    """A deleted artifact, a stopped service and a deleted box, one after the other."""
    project.up()

    _delete_one(project, "models/resnet50-digits/1/featurizer.npz")
    assert _shown_by_refresh(project) == [("delete", "Model")]
    project.up()
    assert project.outputs()["model_version"] == 1, "the same content keeps its number"
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0

    _stop_service(project)
    shown = project.pulumi("preview", "--refresh", "--diff")
    assert "Healthy" in shown.text
    assert _shown_by_refresh(project) == [("update", "Webservice")]
    assert project.up().steps() == [("update", "Webservice")]
    assert project.score().returncode == 0

    _kill(EdgeBox(project.box), project)
    assert ("delete", "Webservice") in _shown_by_refresh(project)
    project.up()
    assert project.score().returncode == 0
    project.destroy()


@pytest.mark.timeout(600)
def test_up_sees_what_does_not_run(project: Any) -> None:
    """A plain preview foretells the repair of a service, and of a whole box, with the reason; a plain up repairs it."""
    project.up()
    _stop_service(project)
    shown = project.pulumi("preview")
    assert "is to be repaired: its server was stopped from outside" in shown.text
    assert project.up().steps() == [("update", "Webservice")]
    assert project.score().returncode == 0

    box_processes.stop(lambda: box_processes.supervisors(Layout(project.box).supervisor_config), grace_seconds=20)
    assert ("update", "ComputeTarget") in project.up().steps()
    assert project.score().returncode == 0
    assert project.up().steps() == []
    project.destroy()


@pytest.mark.timeout(300)
def test_server_comes_back_after_kill(project: Any) -> None:
    """kill -9 of the server: serving again soon, without any command."""
    project.up()
    service = EdgeBox(project.box).service("resnet50-digits")
    assert service is not None
    os.kill(service.pid, signal.SIGKILL)

    wait_for(lambda: _serves_with_other_pid(project, service.pid), "another server", 60)

    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    project.destroy()


def _serves_with_other_pid(project: Any, pid: int) -> bool:
    state = EdgeBox(project.box).service("resnet50-digits")
    return state is not None and state.state == "Healthy" and state.pid not in (0, pid)


def _shown_by_refresh(project: Any) -> list[tuple[str, str]]:
    outcome = project.pulumi("refresh", "--yes", "--skip-preview")
    return [(operation, kind) for operation, kind in outcome.steps() if operation in ("delete", "update")] or [
        (operation, kind) for operation, kind in outcome.steps() if operation != "refresh"
    ]


def _delete_one(project: Any, key: str) -> None:
    (project.store / key).unlink()


def _stop_service(project: Any) -> None:
    """Stops the service with the supervisor's own command, as a curious person on the box would."""
    configuration = project.box / "supervisord.conf"
    command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(configuration), "stop", "all"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _kill(box: EdgeBox, project: Any) -> None:
    box.release(owner=f"accelform/{project.stack}/target")
    shutil.rmtree(project.box, ignore_errors=True)
