"""Where a content is, is noted in the store: finding it reads that note, and works in stores that have none."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelform.errors import UserError
from accelform.store import Store, catalog, versions
from accelform.store.index import INDEX
from accelform.store.manifest import Manifest
from accelform.store.workspace import WorkspaceDescription, join, leave

OWNER = "accelform/edge/model"
DIGEST = f"sha256:{'a' * 64}"


def publish(store: Store, folder: Path, name: str, *, owner: str = OWNER, digest: str = DIGEST) -> Manifest:
    weights = folder / "weights.bin"
    weights.write_bytes(b"weights")
    number = versions.allocate(store, "models", name, owner=owner, digest=digest).version
    files = {"weights.bin": weights}
    return versions.publish(store, "models", name, number, owner=owner, digest=digest, files=files, properties={})


def found(store: Store, *, owner: str = OWNER) -> Manifest | None:
    return catalog.find(store, "models", owner=owner, digest=DIGEST)


def test_finding_lists_nothing(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names and versions a store holds, a published content is found by what was noted of it."""
    ours = publish(store, tmp_path, "ours")
    theirs = publish(store, tmp_path, "theirs", owner="accelform/other/model")

    def refuse(self: Store, prefix: str) -> list[str]:
        raise AssertionError(f"{prefix} was listed")

    monkeypatch.setattr(Store, "list", refuse)

    assert found(store) == ours
    assert found(store, owner="accelform/other/model") == theirs


def test_a_store_without_index_goes_on_and_gets_one(store: Store, tmp_path: Path) -> None:
    """As earlier versions left it."""
    manifest = publish(store, tmp_path, "model")
    noted = store.list(INDEX)
    store.delete_prefix(INDEX)

    assert found(store) == manifest
    assert store.list(INDEX) == noted


@pytest.mark.parametrize("content", [b"", b"[]", b'{"name": "model", "version": 7}', b'{"name": "../x", "version": 1}'])
def test_a_note_that_is_wrong_does_no_harm(store: Store, tmp_path: Path, content: bytes) -> None:
    """Damaged, of a version that is not there, or of none that could be."""
    manifest = publish(store, tmp_path, "model")
    (key,) = store.list(INDEX)
    store.put(key, content)

    assert found(store) == manifest


def test_a_note_of_another_content_is_not_believed(store: Store, tmp_path: Path) -> None:
    """What it names is looked at: owner and digest must be the ones that were asked for."""
    manifest = publish(store, tmp_path, "model")
    publish(store, tmp_path, "other", digest=f"sha256:{'b' * 64}")
    ours, other = sorted(store.list(INDEX))
    store.put(ours, store.get(other))

    assert found(store) == manifest


def test_what_was_withdrawn_is_not_found(store: Store, tmp_path: Path) -> None:
    """Nor is it noted any more; an earlier version with the same content is found instead."""
    first = publish(store, tmp_path, "model")
    second = publish(store, tmp_path, "model")
    assert found(store) == second

    versions.withdraw(store, "models", "model", second.version, owner=OWNER)
    assert found(store) == first

    versions.withdraw(store, "models", "model", first.version, owner=OWNER)
    assert found(store) is None
    assert store.list(INDEX) == []


def test_a_withdrawal_that_was_killed_is_one(store: Store, tmp_path: Path) -> None:
    """Its mark is written first; what is marked is not found, noted or not."""
    publish(store, tmp_path, "model")
    store.put("models/model/1/withdrawn.json", b"{}")

    assert found(store) is None


def test_nothing_is_left(local_store: Store, tmp_path: Path) -> None:
    """The last to leave takes the index along."""
    join(local_store, workspace=WorkspaceDescription(name="w"), owner="accelform/edge/workspace")
    publish(local_store, tmp_path, "model", owner="accelform/else/model")

    leave(local_store, owner="accelform/edge/workspace")

    assert local_store.root is not None
    assert not local_store.root.exists()


def test_content_that_changed_while_it_was_stored_is_refused(store: Store, tmp_path: Path) -> None:
    """What was looked at before is what must be stored."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"weights")
    versions.allocate(store, "models", "model", owner=OWNER, digest=DIGEST)

    with pytest.raises(UserError, match=r"weights\.bin changed while it was being stored"):
        versions.publish(
            store,
            "models",
            "model",
            1,
            owner=OWNER,
            digest=DIGEST,
            files={"weights.bin": weights},
            sha256s={"weights.bin": "0" * 64},
            properties={},
        )

    assert found(store) is None
