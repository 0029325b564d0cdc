"""The workspace: shared by several stacks, gone without a trace when the last one leaves."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from accelform.errors import StoreCorrupt, WorkspaceConflict
from accelform.store import Store, versions, workspace
from accelform.store.workspace import WorkspaceDescription

DESCRIPTION = WorkspaceDescription(
    name="ws", resource_group="rg", location="eastus", subscription_id="00000000-0000-0000-0000-000000000000"
)
EDGE, PROD = "shop/edge/workspace", "shop/prod/workspace"
DIGEST = "sha256:" + "a" * 64


def every_path(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_join_and_describe(store: Store) -> None:
    """A joined workspace tells its identity, when it was made and who is in it; joining twice changes nothing."""
    assert workspace.describe(store) is None

    first = workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    assert workspace.join(store, workspace=DESCRIPTION, owner=EDGE) == first
    second = workspace.join(store, workspace=DESCRIPTION, owner=PROD)

    assert first.members == (EDGE,)
    assert second.members == (EDGE, PROD)
    assert workspace.describe(store) == second
    assert second.description == DESCRIPTION


def test_another_workspace_in_the_same_store_is_refused(store: Store) -> None:
    """A store holds one workspace: the message names what differs and who uses it."""
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)

    with pytest.raises(WorkspaceConflict, match="location is 'eastus', not 'westus2'; used by shop/edge/workspace"):
        workspace.join(store, workspace=replace(DESCRIPTION, location="westus2"), owner=PROD)

    state = workspace.describe(store)
    assert state is not None
    assert state.members == (EDGE,)


def test_the_last_to_leave_leaves_no_trace(tmp_path: Path) -> None:
    """The folders that joining made are gone again, half-written files and cached layers included."""
    store = Store.open(str(tmp_path / "new" / "store"))
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    versions.allocate(store, "models", "digits", owner="shop/edge/model", digest=DIGEST)
    store.put("layers/abc/layer.tar", b"layer")
    for half_written in ("models/digits/1/model.onnx#1", "members/x.json#1", "workspace.json#1"):
        (tmp_path / "new/store" / half_written).write_bytes(b"half")

    workspace.leave(store, owner=EDGE)

    assert every_path(tmp_path) == []
    workspace.leave(store, owner=EDGE)
    assert workspace.describe(store) is None


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    """A folder that joining did not make stays, with the files in it that are not Accelform's."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "issue#1").write_text("mine")
    store = Store.open(str(tmp_path))
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    workspace.leave(store, owner=EDGE)

    assert every_path(tmp_path) == ["issue#1", "notes.txt"]


def test_a_folder_with_strange_models_is_refused(store: Store) -> None:
    """Files that the last one to leave would remove are a reason not to start; a workspace that lost its description
    but has its member is made again."""
    store.put("models/holiday/photo.jpg", b"mine")

    with pytest.raises(WorkspaceConflict, match="there is no workspace, yet models in it hold files"):
        workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    assert store.list("") == ["models/holiday/photo.jpg"]

    store.delete_prefix("models")
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    versions.allocate(store, "models", "digits", owner="shop/edge/model", digest=DIGEST)
    store.delete("workspace.json")
    assert workspace.join(store, workspace=DESCRIPTION, owner=EDGE).description == DESCRIPTION


def test_an_empty_folder_that_was_there_stays(tmp_path: Path) -> None:
    """An empty folder that the user made stays."""
    store = Store.open(str(tmp_path))
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    workspace.leave(store, owner=EDGE)

    assert tmp_path.is_dir()
    assert every_path(tmp_path) == []


def test_leaving_sweeps_the_own_stack_only(store: Store, tmp_path: Path) -> None:
    """What a stack's crashed creates left goes when it leaves; the other stack's versions and the counters stay."""
    artifact = tmp_path / "file"
    artifact.write_bytes(b"x")
    for owner in (EDGE, PROD):
        workspace.join(store, workspace=DESCRIPTION, owner=owner)
    for owner in ("shop/edge/model", "shop/prod/model"):
        number = versions.allocate(store, "models", "digits", owner=owner, digest=DIGEST).version
        versions.publish(
            store, "models", "digits", number, owner=owner, digest=DIGEST, files={"file": artifact}, properties={}
        )

    workspace.leave(store, owner=EDGE)

    assert not store.exists("models/digits/1/file")
    assert store.exists("models/digits/1/reservation.json")
    assert versions.verify(store, versions.read_manifest(store, "models", "digits", 2), content=True) == []
    state = workspace.describe(store)
    assert state is not None
    assert state.members == (PROD,)

    workspace.leave(store, owner=PROD)
    assert store.list("") == []


def test_two_workspaces_of_one_stack(store: Store) -> None:
    """While another resource of the same stack is a member, leaving takes no versions away."""
    workspace.join(store, workspace=DESCRIPTION, owner="shop/edge/one")
    workspace.join(store, workspace=DESCRIPTION, owner="shop/edge/two")
    versions.allocate(store, "models", "digits", owner="shop/edge/model", digest=DIGEST)

    workspace.leave(store, owner="shop/edge/one")
    assert not store.exists("models/digits/1/withdrawn.json")

    workspace.leave(store, owner="shop/edge/two")
    assert store.list("") == []


def test_a_stranger_that_leaves_takes_nothing(store: Store) -> None:
    """Leaving without being a member leaves the others alone."""
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    workspace.leave(store, owner=PROD)

    state = workspace.describe(store)
    assert state is not None
    assert state.members == (EDGE,)


@pytest.mark.parametrize("left_by", ["a dead process here", "another machine", "nobody can say"])
def test_a_killed_leave_does_not_block_joining(store: Store, monkeypatch: pytest.MonkeyPatch, left_by: str) -> None:
    """The mark of a leaver that was killed is taken away: at once when it is known to be dead, else after its time."""
    here = {"host": socket.gethostname(), "pid": 2**22 + 1}
    marks = {"a dead process here": here, "another machine": {**here, "host": "elsewhere"}, "nobody can say": []}
    if left_by == "another machine":
        monkeypatch.setattr(workspace, "CLOSING_TIMEOUT_SECONDS", 0.2)
    store.put("closing.json", json.dumps(marks[left_by]).encode())

    assert workspace.join(store, workspace=DESCRIPTION, owner=EDGE).members == (EDGE,)
    assert not store.exists("closing.json")

    store.put("closing.json", json.dumps(marks[left_by]).encode())
    workspace.leave(store, owner=EDGE)
    assert store.list("") == []


def test_a_damaged_workspace_is_named(store: Store) -> None:
    """A damaged description is told with its place instead of being overwritten."""
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    store.put("workspace.json", b'{"schema": 1}')

    with pytest.raises(StoreCorrupt, match=r"workspace\.json is damaged: created_time is missing"):
        workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    assert store.get("workspace.json") == b'{"schema": 1}'


def test_a_member_with_another_name_keeps_what_it_has(tmp_path: Path) -> None:
    """It counts once, and takes along what its stack left under its former name when it leaves, and nobody else's."""
    store = Store.open(str(tmp_path / "store"))
    workspace.join(store, workspace=DESCRIPTION, owner=EDGE)
    workspace.join(store, workspace=DESCRIPTION, owner=PROD)
    versions.allocate(store, "models", "digits", owner="shop/edge/model", digest=DIGEST)
    versions.allocate(store, "models", "digits", owner="shop/prod/model", digest=DIGEST)
    renamed = "shop/edge-two/workspace"

    for _ in range(2):
        workspace.join(store, workspace=DESCRIPTION, owner=renamed)
        workspace.hand_over(store, owner=renamed, formerly=EDGE)
    state = workspace.describe(store)
    assert state is not None
    assert state.members == (renamed, PROD)

    workspace.leave(store, owner=renamed)
    assert store.exists("models/digits/1/withdrawn.json")
    assert not store.exists("models/digits/2/withdrawn.json")
    workspace.leave(store, owner=PROD)
    assert not (tmp_path / "store").exists()
