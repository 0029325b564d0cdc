"""The Workspace provider over gRPC, as the engine calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from accelform.resources.workspace import WorkspaceProvider

PROVIDER = WorkspaceProvider()
INPUTS = {
    "name": "accelform",
    "resource_group": "vision",
    "subscription_id": "1234",
    "location": "eastus",
    "storage_url": ".accelform/store",
    "owner": "accelform/edge/workspace",
}


def test_identity_is_known_before_anything_exists(plugin: Any, project: Path) -> None:
    """A preview shows the workspace's Azure id and leaves no file behind."""
    checked, failures = plugin.check(PROVIDER, INPUTS)

    assert failures == {}
    assert checked["workspace_id"] == (
        "/subscriptions/1234/resourceGroups/vision/providers/Microsoft.MachineLearningServices/workspaces/accelform"
    )
    assert not (project / ".accelform").exists()


def test_every_problem_is_reported_at_once(plugin: Any) -> None:
    """A wrong region, a wrong name and a missing group come in one answer."""
    _, failures = plugin.check(PROVIDER, {**INPUTS, "location": "mars", "name": "no spaces"})
    _, missing = plugin.check(PROVIDER, {key: value for key, value in INPUTS.items() if key != "resource_group"})

    assert "choose one of eastus, southeastasia, westeurope, westus2" in failures["location"]
    assert "2 to 32 letters" in failures["name"]
    assert "resource_group is required" in missing["resource_group"]


def test_life_of_a_workspace(plugin: Any, project: Path) -> None:
    """Create, read, and delete leave the folder as it was; reading after that says gone, deleting again is fine."""
    checked, _ = plugin.check(PROVIDER, INPUTS)
    id_, outputs = plugin.create(PROVIDER, checked)
    again_id, again = plugin.create(PROVIDER, checked)
    read_id, _, read_inputs = plugin.read(PROVIDER, id_, outputs)

    assert (id_, outputs) == (again_id, again)
    assert read_id == id_
    assert read_inputs == checked
    assert (project / ".accelform" / "store" / "workspace.json").is_file()

    plugin.delete(PROVIDER, id_, outputs)
    plugin.delete(PROVIDER, id_, outputs)

    assert plugin.read(PROVIDER, id_, outputs)[0] == ""
    assert not (project / ".accelform").exists()


def test_a_move_replaces_and_a_tag_does_not(plugin: Any) -> None:
    """Another store is another workspace, deleted before the new one is made; tags are updated in place."""
    checked, _ = plugin.check(PROVIDER, INPUTS)
    moved, _ = plugin.check(PROVIDER, {**INPUTS, "storage_url": "elsewhere"})
    tagged, _ = plugin.check(PROVIDER, {**INPUTS, "tags": {"team": "vision"}})

    assert list(plugin.diff(PROVIDER, checked, moved).replaces) == ["storage_url"]
    assert plugin.diff(PROVIDER, checked, moved).deleteBeforeReplace
    assert list(plugin.diff(PROVIDER, checked, tagged).replaces) == []


def test_a_store_that_cannot_be_read_is_not_gone(plugin: Any, project: Path) -> None:
    """A damaged workspace manifest is a clear failure at preview and an error on refresh, never "gone"."""
    checked, _ = plugin.check(PROVIDER, INPUTS)
    id_, outputs = plugin.create(PROVIDER, checked)
    (project / ".accelform" / "store" / "workspace.json").write_text("{not json")

    _, failures = plugin.check(PROVIDER, INPUTS)
    with pytest.raises(grpc.RpcError, match="damaged"):
        plugin.read(PROVIDER, id_, outputs)

    assert "is damaged" in failures["storage_url"]
    assert "pulumi refresh" in failures["storage_url"]
