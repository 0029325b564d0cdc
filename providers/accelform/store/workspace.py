"""The workspace that a store holds, shared by every stack that declares it.

    workspace.json        what the workspace is; written by the first stack that joins
    members/<id>.json     one per owner ("project/stack/logical name")
    closing.json          the last member is emptying the store

The last one to leave removes everything, so that a folder store is as it was before. In a folder, one at a time joins
or leaves, under a lock. Elsewhere, joining writes the member before
it looks for ``closing.json`` and leaving writes ``closing.json`` before it looks for members, so of two at once at
least one sees the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any

from accelform.errors import ObjectExists, ObjectMissing, WorkspaceConflict
from accelform.faults import fault_point
from accelform.store._locking import exclusive, remove_empty_folders
from accelform.store.index import INDEX
from accelform.store.manifest import corrupt, decode_object, encode_json, utc_now
from accelform.store.objects import Store
from accelform.store.records import read_record
from accelform.store.versions import KINDS, sweep

WORKSPACE, MEMBERS, CLOSING = "workspace.json", "members", "closing.json"
FOLDERS = (*KINDS, "layers")
CLOSING_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class WorkspaceDescription:
    """A workspace's identity, in Azure ML's words. Two descriptions in one store must be equal."""

    name: str
    resource_group: str = ""
    location: str = ""
    subscription_id: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkspaceState:
    """What the store holds: the workspace, when it was made (RFC 3339 UTC) and the owners that joined, sorted."""

    description: WorkspaceDescription
    created_time: str
    members: tuple[str, ...]


def join(store: Store, *, workspace: WorkspaceDescription, owner: str) -> WorkspaceState:
    """Make the workspace, or join the one that is there. Repeating it is fine.

    Raises WorkspaceConflict when the store holds another workspace, StoreCorrupt when its description is damaged.
    """
    with exclusive(store, marker=WORKSPACE) as made_folders:
        while True:
            _wait_until_closed(store)
            _make(store, workspace, made_folders)
            store.put(_member_key(owner), encode_json({"owner": owner, "joined_time": utc_now()}))
            state = None if store.exists(CLOSING) else describe(store)
            if state is not None and owner in state.members:
                break
    fault_point("workspace:after-join")
    return state


def hand_over(store: Store, *, owner: str, formerly: str) -> None:
    """Make the member `formerly` go by the name of `owner`, as its stack or project does now. Repeating it is fine.

    What it left half-made under its earlier names is remembered as its own. Raises StoreCorrupt.
    """
    with exclusive(store, marker=WORKSPACE):
        earlier = {formerly, *_formerly(store, formerly), *_formerly(store, owner)} - {owner}
        member = {"owner": owner, "joined_time": utc_now(), "formerly": sorted(earlier)}
        store.put(_member_key(owner), encode_json(member))
        store.delete(_member_key(formerly))


def leave(store: Store, *, owner: str) -> None:
    """Withdraw what this owner's stack left behind, drop the membership and, as the last one, empty the store.

    Repeating it is fine, and so is a store that is gone. Versions stay while another member of the same stack is there.
    """
    if store.root is not None and not store.root.exists():
        return
    with exclusive(store, marker=WORKSPACE):
        made_folders = _leave(store, owner)
    if store.root is not None:
        remove_empty_folders(store.root, made_folders)


def describe(store: Store) -> WorkspaceState | None:
    """The workspace in this store, or None. Raises StoreCorrupt."""
    try:
        document = _read(store)
    except ObjectMissing:
        return None
    fields = {key: document[key] for key in WorkspaceDescription.__dataclass_fields__}
    return WorkspaceState(
        description=WorkspaceDescription(**fields),
        created_time=document["created_time"],
        members=tuple(_members(store)),
    )


_FIELDS: dict[str, type] = {
    "schema": int,
    "created_time": str,
    "made_folders": int,
    **dict.fromkeys(WorkspaceDescription.__dataclass_fields__, str),
}


def _read(store: Store) -> dict[str, Any]:
    return read_record(store, WORKSPACE, _FIELDS, what="workspace description")


def _check_same(store: Store, workspace: WorkspaceDescription) -> None:
    state = describe(store)
    if state is None or state.description == workspace:
        return
    there, wanted = asdict(state.description), asdict(workspace)
    differences = ", ".join(
        f"{key} is {there[key]!r}, not {wanted[key]!r}" for key in there if there[key] != wanted[key]
    )
    raise WorkspaceConflict(
        f"cannot join workspace {workspace.name!r} in {store.url}: it holds another one ({differences}; used by "
        f"{', '.join(state.members) or 'nobody'}). Correct the workspace's inputs, or choose another storage_url."
    )


def _members(store: Store) -> list[str]:
    owners = []
    for key in store.list(MEMBERS):
        with contextlib.suppress(ObjectMissing):
            document = decode_object(store.get(key), where=store.url_of(key), what="workspace member")
            if not isinstance(document.get("owner"), str):
                raise corrupt(store.url_of(key), "workspace member", "owner is missing")
            owners.append(document["owner"])
    return sorted(owners)


def _formerly(store: Store, owner: str) -> list[str]:
    """The earlier names of a member."""
    key = _member_key(owner)
    try:
        document = decode_object(store.get(key), where=store.url_of(key), what="workspace member")
    except ObjectMissing:
        return []
    return [str(name) for name in document.get("formerly") or ()]


def _member_key(owner: str) -> str:
    return f"{MEMBERS}/{hashlib.sha256(owner.encode()).hexdigest()[:32]}.json"


def _make(store: Store, workspace: WorkspaceDescription, made_folders: int) -> None:
    strange = [folder for folder in FOLDERS if not (store.exists(WORKSPACE) or _members(store)) and store.list(folder)]
    if strange:
        raise WorkspaceConflict(
            f"cannot make workspace {workspace.name!r} in {store.url}: there is no workspace, yet {', '.join(strange)} "
            "in it hold files, which would be removed with the workspace. Choose another storage_url, or empty it."
        )
    content = {"schema": 1, **asdict(workspace), "created_time": utc_now(), "made_folders": made_folders}
    try:
        store.put_new(WORKSPACE, encode_json(content))
    except ObjectExists:
        _check_same(store, workspace)


def _leave(store: Store, owner: str) -> int:
    """Returns how many folders of the store's path are to be removed."""
    others = [member for member in _members(store) if member != owner]
    for stack in {name.rpartition("/")[0] + "/" for name in (owner, *_formerly(store, owner))}:
        if not any(member.startswith(stack) for member in others):
            sweep(store, owner_prefix=stack)
    store.delete(_member_key(owner))
    while store.list("") and not _members(store):
        try:
            store.put_new(CLOSING, encode_json({"host": socket.gethostname(), "pid": os.getpid(), "since": utc_now()}))
        except ObjectExists:
            _wait_until_closed(store)
            continue
        return _empty(store)
    return 0


def _empty(store: Store) -> int:
    """Remove everything, unless someone joined before ``closing.json`` was there."""
    if _members(store):
        store.delete(CLOSING)
        return 0
    made_folders = 0
    with contextlib.suppress(ObjectMissing):
        made_folders = int(_read(store)["made_folders"])
    for folder in (*FOLDERS, INDEX):
        store.delete_prefix(folder)
    store.delete_prefix(MEMBERS, keep=store.list(MEMBERS))
    store.delete(WORKSPACE)
    store.remove_half_written(WORKSPACE, CLOSING)
    store.delete(CLOSING)
    return made_folders


def _wait_until_closed(store: Store) -> None:
    """Wait for whoever empties the store; when it was killed or takes too long, its mark is removed."""
    deadline = time.monotonic() + CLOSING_TIMEOUT_SECONDS
    while store.exists(CLOSING):
        if time.monotonic() > deadline or _closer_is_dead(store):
            store.delete(CLOSING)
        time.sleep(0.05)


def _closer_is_dead(store: Store) -> bool:
    try:
        document = json.loads(store.get(CLOSING))
        if document["host"] != socket.gethostname():
            return False
        os.kill(document["pid"], 0)
    except (ProcessLookupError, ValueError, KeyError, TypeError):
        return True
    except (PermissionError, ObjectMissing):
        return False
    return False
