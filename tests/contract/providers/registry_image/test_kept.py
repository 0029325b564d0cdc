"""Images that were half made, removed from outside or are somebody else's: adopted, repaired, left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support.base_images import publish_model
from tests.support.pushed_images import MODEL_OWNER, OWNER, documents, make, manifests_in, names_in
from tests.support.registries import RunningRegistry

from accelform.registry import Connection, Repository
from accelform.resources.image import ImageProvider
from accelform.resources.workspace import WorkspaceProvider

STEPS = ("after-reservation", "after-layers", "after-push", "after-attach", "after-artifacts", "after-manifest")


def test_killed_between_any_two_steps(
    start_plugin: Any, plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Each create dies one step further; the last one takes over what is there, under the same number and digest."""
    inputs = image_inputs()
    checked, _ = plugin.check(ImageProvider(), inputs)
    for step in STEPS:
        with start_plugin(ACCELFORM_FAULT_POINT=f"image:{step}") as dying, pytest.raises(grpc.RpcError) as caught:
            dying.create(ImageProvider(), checked)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE, f"{step} was not reached: {caught.value}"
    id_, outputs = plugin.create(ImageProvider(), checked)

    assert outputs["version"] == 1
    assert [tag for tag in names_in(running, "team/digits") if not tag.startswith("sha256-")] == ["1"]
    documents(outputs["image_location"])

    with start_plugin(ACCELFORM_FAULT_POINT="image:after-unpush") as dying, pytest.raises(grpc.RpcError):
        dying.delete(ImageProvider(), id_, outputs)
    assert plugin.read(ImageProvider(), id_, outputs)[0] == "", "half deleted is gone"
    plugin.delete(ImageProvider(), id_, outputs)
    assert manifests_in(running, "team/digits") == 0


def test_killed_and_then_changed_or_given_up(
    start_plugin: Any, plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """What a killed create pushed goes when another model is deployed instead, and when the stack is destroyed."""
    workspace, _ = plugin.check(
        WorkspaceProvider(),
        {
            "name": "accelform",
            "resource_group": "vision",
            "subscription_id": "1234",
            "location": "westus2",
            "storage_url": ".accelform/store",
            "owner": OWNER + "workspace",
        },
    )
    workspace_id, made = plugin.create(WorkspaceProvider(), workspace)
    checked, _ = plugin.check(ImageProvider(), image_inputs())
    with start_plugin(ACCELFORM_FAULT_POINT="image:after-attach") as dying, pytest.raises(grpc.RpcError):
        dying.create(ImageProvider(), checked)
    assert "1" in names_in(running, "team/digits")

    id_, outputs = make(plugin, image_inputs("second"))
    assert outputs["version"] == 2
    assert "1" not in names_in(running, "team/digits")
    plugin.delete(ImageProvider(), id_, outputs)
    assert manifests_in(running, "team/digits") == 0

    third, _ = plugin.check(ImageProvider(), image_inputs("third"))
    with start_plugin(ACCELFORM_FAULT_POINT="image:after-push") as dying, pytest.raises(grpc.RpcError):
        dying.create(ImageProvider(), third)
    assert manifests_in(running, "team/digits") > 0
    plugin.delete(WorkspaceProvider(), workspace_id, made)
    assert manifests_in(running, "team/digits") == 0


def test_what_was_removed_from_outside_comes_back(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """A manifest or layer that somebody deleted shows at refresh as gone; create pushes it again under its number."""
    inputs = image_inputs()
    id_, outputs = make(plugin, inputs)
    manifest, _ = documents(outputs["image_location"])
    with Connection(running.host) as connection:
        Repository(connection=connection, name="team/digits").delete_manifest(outputs["image_digest"])
    assert plugin.read(ImageProvider(), id_, outputs)[0] == ""
    _, again = make(plugin, inputs)
    assert (again["version"], again["image_location"]) == (1, outputs["image_location"])

    link = f"docker/registry/v2/repositories/team/digits/_layers/sha256/{manifest['layers'][1]['digest'][7:]}/link"
    (running.storage / link).unlink()
    assert plugin.read(ImageProvider(), id_, again)[0] == ""
    make(plugin, inputs)
    assert plugin.read(ImageProvider(), id_, again)[0] == id_


def test_another_owners_tag_stays(
    plugin: Any, project: Path, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Two stores count alone: where another stack has the tag already, the push is refused."""
    _, outputs = make(plugin, image_inputs())
    fingerprint_ = publish_model(project / "other-store", owner=MODEL_OWNER)
    other = image_inputs(storage_url="other-store", owner="accelform/eastus/image", model_fingerprint=fingerprint_)

    with pytest.raises(grpc.RpcError, match=r"it belongs to accelform/westus2/image\. Use another image name"):
        make(plugin, other)

    documents(outputs["image_location"])


def test_two_stacks_with_the_same_content(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Equal images of two stacks have digests of their own: deleting one leaves the other as it was."""
    first_id, first = make(plugin, image_inputs())
    _, second = make(plugin, image_inputs(owner="accelform/eastus/image"))
    plugin.delete(ImageProvider(), first_id, first)

    assert first["image_digest"] != second["image_digest"]
    documents(second["image_location"])
    documents(second["sbom_location"])


def test_forced_replacement_keeps_what_it_adopts(plugin: Any, image_inputs: Callable[..., dict[str, Any]]) -> None:
    """`pulumi up --replace` makes the same image again and then deletes the old one: it must survive."""
    inputs = image_inputs()
    id_, before = make(plugin, inputs)
    _, after = make(plugin, inputs)
    plugin.delete(ImageProvider(), id_, before)

    assert after["image_digest"] == before["image_digest"]
    assert plugin.read(ImageProvider(), id_, after)[0] == id_
