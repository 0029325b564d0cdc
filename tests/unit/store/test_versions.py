"""Versions: numbers never given twice, visible only when complete, resumable by their owner."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from accelform.errors import NotOwner, ObjectMissing, StoreCorrupt, StoreLocationError
from accelform.store import Store, versions
from accelform.store.manifest import Manifest

OWNER, DIGEST = "shop/edge/digits", "sha256:" + "a" * 64
OTHER_OWNER, OTHER_DIGEST = "shop/prod/digits", "sha256:" + "b" * 64


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    return path


def make(store: Store, artifact: Path, *, owner: str = OWNER, digest: str = DIGEST, name: str = "digits") -> Manifest:
    allocation = versions.allocate(store, "models", name, owner=owner, digest=digest)
    return versions.publish(
        store,
        "models",
        name,
        allocation.version,
        owner=owner,
        digest=digest,
        files={"model.onnx": artifact},
        properties={"framework": "onnx"},
    )


def test_versions_count_up_per_name(store: Store, artifact: Path) -> None:
    """Each name counts from 1, whoever publishes."""
    numbers = [make(store, artifact, owner=owner).version for owner in (OWNER, OTHER_OWNER, OWNER)]

    assert numbers == [1, 2, 3]
    assert make(store, artifact, name="cats").version == 1


def test_a_published_version_reads_back(store: Store, artifact: Path) -> None:
    """The manifest holds the owner, the digest, an RFC 3339 time and each file's size and sha256."""
    published = make(store, artifact)
    manifest = versions.read_manifest(store, "models", "digits", 1)

    assert manifest == published
    assert (manifest.owner, manifest.digest, manifest.properties) == (OWNER, DIGEST, {"framework": "onnx"})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", manifest.created_time)
    assert [(file.name, file.size_bytes, len(file.sha256)) for file in manifest.files] == [("model.onnx", 7, 64)]
    assert versions.verify(store, manifest, content=True) == []


def test_an_incomplete_version_is_invisible(store: Store) -> None:
    """A number without a manifest cannot be read or adopted."""
    versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)

    with pytest.raises(ObjectMissing, match="manifest"):
        versions.read_manifest(store, "models", "digits", 1)
    assert versions.adopt(store, "models", "digits", owner=OWNER, digest=DIGEST) is None


def test_the_same_create_resumes_its_number(store: Store) -> None:
    """The same owner and digest get the number they had taken; what lay there is cleared first."""
    first = versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)
    store.put("models/digits/1/half", b"left by a kill")

    again = versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)

    assert (first.version, first.resumed) == (1, False)
    assert (again.version, again.resumed) == (1, True)
    assert store.list("") == ["models/digits/1/reservation.json"]


def test_another_content_burns_the_old_number(store: Store) -> None:
    """An own incomplete number with another digest loses its files and is never given again, to anybody."""
    versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)
    store.put("models/digits/1/model.onnx", b"half")

    second = versions.allocate(store, "models", "digits", owner=OWNER, digest=OTHER_DIGEST)

    assert second == versions.Allocation(version=2, resumed=False)
    assert not store.exists("models/digits/1/model.onnx")
    third = versions.allocate(store, "models", "digits", owner=OTHER_OWNER, digest=DIGEST)
    assert third.version == 3


def test_another_owners_number_is_left_alone(store: Store) -> None:
    """An incomplete number of another stack is neither resumed nor cleaned."""
    versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)
    store.put("models/digits/1/model.onnx", b"being written")

    assert versions.allocate(store, "models", "digits", owner=OTHER_OWNER, digest=DIGEST).version == 2
    assert store.exists("models/digits/1/model.onnx")


def test_adopt_finds_only_the_own_version(store: Store, artifact: Path) -> None:
    """Adopting needs the same owner and the same digest; the newest one wins."""
    make(store, artifact)
    newest = make(store, artifact)
    make(store, artifact, owner=OTHER_OWNER)

    assert versions.adopt(store, "models", "digits", owner=OWNER, digest=DIGEST) == newest
    assert versions.adopt(store, "models", "digits", owner=OWNER, digest=OTHER_DIGEST) is None
    assert versions.adopt(store, "models", "cats", owner=OWNER, digest=DIGEST) is None


def test_withdrawn_numbers_are_never_reused(store: Store, artifact: Path) -> None:
    """Withdrawing removes the content, keeps the number taken, and may be repeated."""
    make(store, artifact)
    versions.withdraw(store, "models", "digits", 1, owner=OWNER)
    versions.withdraw(store, "models", "digits", 1, owner=OWNER)
    versions.withdraw(store, "models", "never", 7, owner=OWNER)

    assert store.list("") == ["models/digits/1/reservation.json", "models/digits/1/withdrawn.json"]
    with pytest.raises(ObjectMissing):
        versions.read_manifest(store, "models", "digits", 1)
    assert versions.adopt(store, "models", "digits", owner=OWNER, digest=DIGEST) is None
    assert make(store, artifact).version == 2


def test_a_withdrawal_that_was_killed_is_not_adopted(store: Store, artifact: Path) -> None:
    """Once a version is marked as withdrawn, a manifest that is still there does not bring it back."""
    make(store, artifact)
    store.put("models/digits/1/withdrawn.json", b"{}")

    assert versions.adopt(store, "models", "digits", owner=OWNER, digest=DIGEST) is None
    assert make(store, artifact).version == 2
    assert versions.sweep(store, owner_prefix="shop/edge/") == ["models/digits/1", "models/digits/2"]
    assert not store.exists("models/digits/1/manifest.json")


def test_only_the_owner_changes_a_version(store: Store, artifact: Path) -> None:
    """Another stack can neither publish into nor withdraw a version, and is told whose it is."""
    make(store, artifact)

    with pytest.raises(NotOwner, match=f"belongs to {OWNER}"):
        versions.withdraw(store, "models", "digits", 1, owner=OTHER_OWNER)
    with pytest.raises(NotOwner):
        versions.publish(
            store, "models", "digits", 1, owner=OTHER_OWNER, digest=DIGEST, files={"x": artifact}, properties={}
        )
    assert versions.verify(store, versions.read_manifest(store, "models", "digits", 1), content=True) == []


def test_publishing_needs_an_allocated_number(store: Store, artifact: Path) -> None:
    """A number that was not taken cannot be published."""
    with pytest.raises(ObjectMissing):
        versions.publish(store, "models", "digits", 4, owner=OWNER, digest=DIGEST, files={"x": artifact}, properties={})
    assert store.list("") == []


def test_sweep_takes_one_stack_only(store: Store, artifact: Path) -> None:
    """Sweeping withdraws published and half-made versions of one stack and leaves stacks with a longer name alone."""
    make(store, artifact)
    versions.allocate(store, "images", "digits", owner="shop/edge/image", digest=DIGEST)
    make(store, artifact, owner="shop/edge2/digits")

    assert versions.sweep(store, owner_prefix="shop/edge/") == ["models/digits/1", "images/digits/1"]
    assert versions.sweep(store, owner_prefix="shop/edge/") == []
    assert versions.read_manifest(store, "models", "digits", 2).owner == "shop/edge2/digits"
    with pytest.raises(ValueError, match="slash"):
        versions.sweep(store, owner_prefix="shop/edge")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda text: text[: len(text) // 2], "not JSON"),
        (lambda text: b"\xff\xfe" + text, "not JSON"),
        (lambda text: b"[]", "not a JSON object"),
        (lambda text: b"[" * 100_000, "not JSON"),
        (lambda text: text.replace(b'"schema": 1', b'"schema": 2'), "schema is 2"),
        (lambda text: text.replace(b'"owner"', b'"owned"'), "owner is missing; owned is unknown"),
        (lambda text: text.replace(b'"size_bytes": 7', b'"size_bytes": "7"'), "size_bytes is not int"),
        (lambda text: text.replace(b'"version": 1', b'"version": true'), "version is not int"),
        (lambda text: text.replace(b'"version": 1', b'"version": 9'), "describes models/digits/9"),
        (lambda text: re.sub(rb'"sha256": "..', b'"sha256": "ZZ', text), "not 64 hex digits"),
    ],
)
def test_a_damaged_manifest_is_named(store: Store, artifact: Path, change: object, why: str) -> None:
    """A manifest changed from outside raises StoreCorrupt with its place, the fault and what to do."""
    assert callable(change)
    make(store, artifact)
    key = "models/digits/1/manifest.json"
    store.put(key, change(store.get(key)))

    for read in (
        lambda: versions.read_manifest(store, "models", "digits", 1),
        lambda: versions.adopt(store, "models", "digits", owner=OWNER, digest=DIGEST),
    ):
        with pytest.raises(StoreCorrupt, match=re.escape(why)) as raised:
            read()
        assert store.url_of(key) in str(raised.value)
        assert "pulumi up" in str(raised.value)


def test_a_damaged_reservation_is_named(store: Store) -> None:
    """A reservation changed from outside raises StoreCorrupt instead of giving the number away."""
    versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)
    store.put("models/digits/1/reservation.json", json.dumps({"owner": 3}).encode())

    with pytest.raises(StoreCorrupt, match=re.escape("models/digits/1/reservation.json")):
        versions.allocate(store, "models", "digits", owner=OWNER, digest=DIGEST)


def test_verify_tells_what_is_wrong(store: Store, artifact: Path) -> None:
    """Missing and resized files are seen by size; changed content when asked to read it."""
    manifest = make(store, artifact)
    key = "models/digits/1/model.onnx"

    store.put(key, b"WEIGHTS")
    assert versions.verify(store, manifest) == []
    assert versions.verify(store, manifest, content=True) == [
        f"{store.url_of(key)} has other content than was published"
    ]
    store.put(key, b"short")
    assert versions.verify(store, manifest) == [f"{store.url_of(key)} has 5 bytes instead of 7"]
    store.delete(key)
    assert versions.verify(store, manifest) == [f"{store.url_of(key)} is missing"]


@pytest.mark.parametrize("name", ["", "..", "a/b", "/abs", "a b", "-x", "n" * 256])
def test_names_that_are_refused(store: Store, name: str) -> None:
    """A name is one plain part of a key."""
    with pytest.raises(StoreLocationError, match="as the name of model"):
        versions.allocate(store, "models", name, owner=OWNER, digest=DIGEST)
    assert store.list("") == []


def test_foreign_files_do_not_disturb(store: Store, artifact: Path) -> None:
    """Files that someone put beside the versions are neither counted nor a reason to fail."""
    store.put("models/digits/readme.txt", b"hello")
    store.put("models/digits/latest/manifest.json", b"hello")

    assert make(store, artifact).version == 1
