"""Manifests, tags, deletes and what is attached to an image, against real registries with and without each of these."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.support import registries
from tests.support.registries import RunningRegistry

from accelform.errors import ImageCorrupt, RegistryRefused
from accelform.registry import Manifest, Repository, blobs, referrers
from accelform.registry.repository import OCI_MANIFEST

Open = Callable[..., Repository]
SBOM_TYPE = "application/vnd.cyclonedx+json"


def push_image(repository: Repository, *, tag: str, note: str = "") -> Manifest:
    """A small image."""
    config, layer = blobs.of_bytes(b'{"os":"linux"}'), blobs.of_bytes(b"layer " + note.encode())
    for blob in (config, layer):
        repository.push_blob(blob)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
    }
    content = json.dumps(document).encode()
    repository.push_manifest(content, media_type=OCI_MANIFEST, name=tag)
    return Manifest(media_type=OCI_MANIFEST, content=content, digest=blobs.of_bytes(content).digest)


def descriptor(media_type: str, blob: blobs.Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


def test_a_manifest_by_tag_and_by_digest(open_repository: Open, shared: RunningRegistry) -> None:
    """What was pushed comes back byte for byte, by either name; what is not there is None."""
    repository = open_repository(shared.host, "manifest/model")
    pushed = push_image(repository, tag="1")

    assert repository.manifest("1") == pushed
    assert repository.manifest(pushed.digest) == pushed
    assert repository.has_manifest("1")
    assert repository.manifest("2") is None
    assert not repository.has_manifest("sha256:" + "0" * 64)


def test_a_manifest_without_its_blobs_is_refused(open_repository: Open, shared: RunningRegistry) -> None:
    """The registry takes a manifest only where everything in it is there."""
    repository = open_repository(shared.host, "incomplete/model")
    missing = blobs.of_bytes(b"never pushed")
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor("a/b", missing), "layers": []}

    with pytest.raises(RegistryRefused, match="MANIFEST_BLOB_UNKNOWN"):
        repository.push_manifest(json.dumps(document).encode(), media_type=OCI_MANIFEST, name="1")


def test_a_changed_manifest_is_seen(open_repository: Open, shared: RunningRegistry) -> None:
    """A manifest that is not what its digest says is not used."""
    repository = open_repository(shared.host, "changed/model")
    pushed = push_image(repository, tag="1", note="changed")
    shared.blob_file(pushed.digest).write_bytes(pushed.content.replace(b"linux", b"linus") + b" ")

    with pytest.raises(ImageCorrupt, match="what came has the digest"):
        repository.manifest(pushed.digest)


def test_deleting_takes_the_tag_too(open_repository: Open, shared: RunningRegistry) -> None:
    """A deleted image is gone by digest and by tag; deleting it again is fine; others stay."""
    repository = open_repository(shared.host, "deletes/model")
    first, second = push_image(repository, tag="1", note="first"), push_image(repository, tag="2", note="second")

    assert repository.delete_manifest(first.digest)
    assert repository.delete_manifest(first.digest)

    assert repository.manifest("1") is None
    assert repository.manifest("2") == second


def test_a_registry_that_does_not_delete(open_repository: Open, tmp_path: Path) -> None:
    """It says so, and the caller hears it instead of an error: the image stays."""
    with registries.registry(tmp_path / "keeps", deletes=False) as running:
        repository = open_repository(running.host, "keeps/model")
        pushed = push_image(repository, tag="1")

        assert not repository.delete_manifest(pushed.digest)
        assert repository.has_manifest(pushed.digest)


def attach(repository: Repository, image: Manifest, content: bytes, **annotations: str) -> str:
    parts = referrers.blobs_of(blobs.of_bytes(content))
    for part in parts:
        repository.push_blob(part)
    return referrers.attach(repository, image, parts[1], artifact_type=SBOM_TYPE, annotations=annotations)


def test_attached_where_the_registry_keeps_no_list(open_repository: Open, shared: RunningRegistry) -> None:
    """distribution 2.8 knows no referrers: the list stands under the image's tag, once however often one attaches."""
    repository = open_repository(shared.host, "attached/model")
    image = push_image(repository, tag="1", note="attached")
    for content in (b'{"a": 1}', b'{"a": 1}', b'{"b": 2}'):
        attach(repository, image, content)

    found = referrers.referrers(repository, image.digest)
    listed = repository.manifest(referrers.list_tag(image.digest))
    attached = repository.manifest(found[0].digest)

    assert [referrer.artifact_type for referrer in found] == [SBOM_TYPE, SBOM_TYPE]
    assert listed is not None
    assert [row["digest"] for row in listed.document()["manifests"]] == [referrer.digest for referrer in found]
    assert attached is not None
    assert attached.document()["subject"]["digest"] == image.digest
    assert repository.read_blob(attached.document()["layers"][0]["digest"]) == b'{"a": 1}'

    referrers.detach_all(repository, image.digest)
    assert referrers.referrers(repository, image.digest) == []
    assert repository.manifest(found[0].digest) is None
    assert repository.has_manifest("1")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("says_so", [True, False])
def test_attached_where_the_registry_keeps_the_list(open_repository: Open, tmp_path: Path, says_so: bool) -> None:
    """A registry with the referrers API lists by itself; one that does so silently gets a kept one beside it."""
    with registries.referrers_registry(tmp_path, says_so=says_so) as host:
        repository = open_repository(host, "listed/model")
        image = push_image(repository, tag="1", note="listed")
        digest = attach(repository, image, b'{"a": 1}', by="us")

        # That registry takes the type from the configuration, as before image-spec 1.1; the digest is what counts.
        assert [found.digest for found in referrers.referrers(repository, image.digest)] == [digest]
        assert repository.has_manifest(referrers.list_tag(image.digest)) is not says_so
        referrers.detach_all(repository, image.digest)
        assert referrers.referrers(repository, image.digest) == []


@pytest.mark.timeout(300)
def test_a_registry_that_wants_tags_deleted_first(
    open_repository: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Google's: it refuses to delete what has a tag, so the tag goes first; one that is on another image stays."""
    with registries.referrers_registry(tmp_path, says_so=True) as host:
        repository = open_repository(host, "tagged/model")
        image, other = push_image(repository, tag="1", note="first"), push_image(repository, tag="2", note="second")
        ask = Repository._ask

        def refusing(self: Repository, method: str, path: str, **more: Any) -> requests.Response:
            if (method, path) == ("DELETE", f"manifests/{image.digest}") and self.has_manifest("1"):
                refused = requests.Response()
                refused.status_code = 400
                return refused
            return ask(self, method, path, **more)

        monkeypatch.setattr(Repository, "_ask", refusing)

        assert repository.delete_manifest(image.digest, tags=("1", "2"))
        assert repository.manifest(image.digest) is None
        assert repository.manifest("1") is None
        assert repository.manifest("2") == other
