"""Other names: of the project's folder, of the stack, of the project. Nothing is lost, nothing is left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.support.processes import processes_below

pytestmark = pytest.mark.timeout(1800)


def test_folder_and_stack_get_other_names(new_project: Any) -> None:
    """In folders whose names mean something in URLs and configuration files; another stack's name pauses nothing."""
    project = new_project("pröject 100% #1")
    project.up()
    former = project.folder
    moved = replace(project, folder=former.with_name("other näme 50%"))
    new_project.adopt(moved)
    former.rename(moved.folder)

    foretold = moved.pulumi("preview")
    assert foretold.steps("resourcePreEvent") == [("update", "ComputeTarget")], foretold.text
    assert f"was moved from {former}" in _flat(foretold.text)
    moved.up()
    assert list(processes_below(former)) == []
    assert moved.score().returncode == 0
    assert former.name not in json.dumps(moved.outputs(), ensure_ascii=False)
    moved.up("--expect-no-changes")

    moved.pulumi("stack", "rename", "edge-two")
    renamed = replace(moved, stack="edge-two")
    new_project.adopt(renamed)
    server = _server(renamed)
    assert {step for step, _ in renamed.pulumi("preview").steps("resourcePreEvent")} == {"update"}
    assert {step for step, _ in renamed.up().steps()} == {"update"}
    assert _server(renamed) == server, "the service did not pause"
    renamed.up("--expect-no-changes")

    renamed.configure(model_path="examples/digits/model-parity.yaml")
    renamed.up()
    renamed.destroy()
    _assert_nothing_left(renamed)


def test_destroy_right_after_names_changed(new_project: Any) -> None:
    """Folder, project and stack have other names, and the first command after that is destroy."""
    project = new_project("before")
    project.up()
    moved = replace(project, folder=project.folder.with_name("after"), stack="other")
    new_project.adopt(moved)
    project.pulumi("stack", "rename", "organization/another/other")
    project.folder.rename(moved.folder)
    settings = moved.folder / "Pulumi.yaml"
    settings.write_text(settings.read_text().replace("name: accelform", "name: another", 1))

    moved.destroy()

    assert list(processes_below(project.folder)) == []
    _assert_nothing_left(moved)


def _assert_nothing_left(project: Any) -> None:
    assert list(processes_below(project.folder)) == []
    left = list((project.folder / ".accelform").rglob("*")) if (project.folder / ".accelform").exists() else []
    assert left == []


def _server(project: Any) -> str:
    return (project.box / "fpga" / "0" / "resident.json").read_text()


def _flat(text: str) -> str:
    return " ".join(text.split())
