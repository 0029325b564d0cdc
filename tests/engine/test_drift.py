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


@pytest.mark.timeout(1800)
def test_drift_is_shown_and_repaired(deployed: Any) -> None:
    """A deleted artifact, a stopped service and a deleted box, one after the other."""
    _delete_one(deployed, "models/resnet50-digits/1/featurizer.npz")
    assert _shown_by_refresh(deployed) == [("delete", "Model")]
    deployed.up()
    assert deployed.outputs()["model_version"] == 1, "the same content keeps its number"
    assert deployed.pulumi("preview", "--refresh", "--expect-no-changes").code == 0

    _stop_service(deployed)
    shown = deployed.pulumi("preview", "--refresh", "--diff")
    assert "Healthy" in shown.text
    assert _shown_by_refresh(deployed) == [("update", "Webservice")]
    assert deployed.up().steps() == [("update", "Webservice")]
    assert deployed.score().returncode == 0

    _kill(EdgeBox(deployed.box), deployed)
    assert ("delete", "Webservice") in _shown_by_refresh(deployed)
    deployed.up()
    assert deployed.score().returncode == 0


@pytest.mark.timeout(1800)
def test_up_sees_what_does_not_run(deployed: Any) -> None:
    """A plain preview foretells the repair of a service, and of a whole box, with the reason; a plain up repairs it."""
    _stop_service(deployed)
    shown = deployed.pulumi("preview")
    assert "is to be repaired: its server was stopped from outside" in shown.text
    assert deployed.up().steps() == [("update", "Webservice")]
    assert deployed.score().returncode == 0

    box_processes.stop(lambda: box_processes.supervisors(Layout(deployed.box).supervisor_config), grace_seconds=20)
    assert ("update", "ComputeTarget") in deployed.up().steps()
    assert deployed.score().returncode == 0
    assert deployed.up().steps() == []


@pytest.mark.timeout(1800)
def test_server_comes_back_after_kill(deployed: Any) -> None:
    """kill -9 of the server: serving again soon, without any command."""
    service = EdgeBox(deployed.box).service("resnet50-digits")
    assert service is not None
    os.kill(service.pid, signal.SIGKILL)

    wait_for(lambda: _serves_with_other_pid(deployed, service.pid), "another server", 60)

    assert deployed.pulumi("preview", "--refresh", "--expect-no-changes").code == 0


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
