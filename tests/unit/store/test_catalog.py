"""Finding versions by identity, and keeping their annotations current."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelform.errors import StoreCorrupt
from accelform.store import Store, catalog, versions
from accelform.store.manifest import Manifest

OWNER = "accelform/edge/model"


def publish(store: Store, folder: Path, name: str, digest: str, *, owner: str = OWNER) -> Manifest:
    weights = folder / "weights.bin"
    weights.write_bytes(b"weights of " + digest.encode())
    allocation = versions.allocate(store, "models", name, owner=owner, digest=digest)
    return versions.publish(
        store,
        "models",
        name,
        allocation.version,
        owner=owner,
        digest=digest,
        files={"weights.bin": weights},
        properties={"tags": {"a": "1"}},
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open((tmp_path / "store").as_uri())


def test_found_by_owner_and_digest(store: Store, tmp_path: Path) -> None:
    """Content is found under whatever name its owner gave it; another owner's equal content is not ours."""
    ours = publish(store, tmp_path, "second", "sha256:b")
    publish(store, tmp_path, "first", "sha256:a")
    publish(store, tmp_path, "first", "sha256:b", owner="accelform/other/model")

    assert catalog.find(store, "models", owner=OWNER, digest="sha256:b") == ours
    assert catalog.find(store, "models", owner=OWNER, digest="sha256:c") is None
    assert catalog.names(store, "models") == ["first", "second"]


def test_annotations_change_and_content_stays(store: Store, tmp_path: Path) -> None:
    """New tags are laid over the old properties, and the files still verify."""
    manifest = publish(store, tmp_path, "model", "sha256:a")

    changed = catalog.annotate(store, manifest, owner=OWNER, properties={"tags": {"b": "2"}, "description": "x"})

    assert versions.read_manifest(store, "models", "model", 1) == changed
    assert changed.properties == {"tags": {"b": "2"}, "description": "x"}
    assert changed.files == manifest.files
    assert versions.verify(store, changed, content=True) == []


def test_a_renamed_resource_takes_its_version_along(store: Store, tmp_path: Path) -> None:
    """After the owner changed, the version is found, and can be withdrawn, under the new one only."""
    manifest = publish(store, tmp_path, "model", "sha256:a")
    catalog.annotate(store, manifest, owner="accelform/edge/renamed", properties={})

    assert catalog.find(store, "models", owner=OWNER, digest="sha256:a") is None
    assert catalog.find(store, "models", owner="accelform/edge/renamed", digest="sha256:a") is not None
    versions.withdraw(store, "models", "model", 1, owner="accelform/edge/renamed")
    assert catalog.find(store, "models", owner="accelform/edge/renamed", digest="sha256:a") is None


def test_damage_is_told(store: Store, tmp_path: Path) -> None:
    """Checking reads every own manifest and names a damaged one."""
    publish(store, tmp_path, "model", "sha256:a")
    catalog.check(store, "models", "model", owner=OWNER)
    store.put("models/model/1/manifest.json", b"{}")

    with pytest.raises(StoreCorrupt, match=r"models/model/1/manifest\.json"):
        catalog.check(store, "models", "model", owner=OWNER)


def test_files_are_readable_where_they_lie_or_downloaded(tmp_path: Path) -> None:
    """A folder store's files are used in place; another store's are fetched."""
    for url in ((tmp_path / "store").as_uri(), "memory://"):
        store = Store.open(url)
        manifest = publish(store, tmp_path, "model", "sha256:a")

        found = catalog.local_files(store, manifest, tmp_path / "fetched")

        assert found["weights.bin"].read_bytes() == b"weights of sha256:a"
