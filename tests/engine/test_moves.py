"""Settings that people change later: each previews as what it then does, and the service answers afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.ports import free_port


@pytest.mark.timeout(1800)
def test_moves(deployed: Any) -> None:
    """Another box keeps the port; another port and key setting update; another name and a second FPGA go through."""
    assert _moved(deployed, target_name="box-two") == [
        ("delete-replaced", "Webservice"),
        ("delete-replaced", "ComputeTarget"),
        ("create-replacement", "ComputeTarget"),
        ("create-replacement", "Webservice"),
    ]
    assert not deployed.box.exists()
    assert _moved(deployed, port=free_port(), auth_enabled=False) == [("update", "Webservice")]
    assert _moved(deployed, service_name="other-name", auth_enabled=True) == [
        ("delete-replaced", "Webservice"),
        ("create-replacement", "Webservice"),
    ]
    assert _moved(deployed, agent_count=2) == [("update", "ComputeTarget"), ("update", "Webservice")]
    assert _moved(deployed, number_format="float32")[-1] == ("delete-replaced", "ConvertedModel")


def test_forced_replacement(deployed: Any) -> None:
    """`pulumi up --replace` of unchanged content keeps the version it finds, and the old object leaves it alone."""
    urn = f"urn:pulumi:{deployed.stack}::accelform::pulumi-python:dynamic/accel:Image::image"

    deployed.up("--replace", urn)

    assert deployed.pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    assert deployed.score().returncode == 0


def _moved(project: Any, **settings: Any) -> list[tuple[str, str]]:
    """Configures, previews, deploys and scores; returns what was done."""
    project.configure(**settings)
    project.pulumi("preview")
    steps = [(operation, kind) for operation, kind in project.up().steps() if operation != "replace"]
    scored = project.score()
    assert scored.returncode == 0, scored.stderr
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    return steps
