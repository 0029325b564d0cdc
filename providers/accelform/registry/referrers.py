"""What is attached to an image: artifacts whose manifest names the image's as `subject` (distribution-spec 1.1).

A registry that knows about it lists them itself and says so by `OCI-Subject`. For the others the client keeps the list,
in an index under the tag `sha256-<hex of the image>` ("Unavailable Referrers API").
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from accelform.errors import ImageCorrupt, RegistryDenied, RegistryRefused
from accelform.registry.authorization import scope
from accelform.registry.blobs import Blob, of_bytes
from accelform.registry.repository import OCI_INDEX, OCI_MANIFEST, Manifest, Repository, decode

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = of_bytes(b"{}")
"""The configuration of an artifact that has none (image-spec 1.1, "Guidance for an Empty Descriptor")."""
_KEEPS_NO_LIST = (400, 404, 405, 406, 415, 501)


@dataclass(frozen=True, kw_only=True)
class Referrer:
    """One attached artifact: its manifest's digest and what it is."""

    digest: str
    artifact_type: str


def artifact_manifest(subject: Manifest, content: Blob, *, artifact_type: str, annotations: Mapping[str, str]) -> bytes:
    """The manifest that attaches `content` to `subject`: equal inputs, equal bytes."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": artifact_type,
        "config": _descriptor(EMPTY_TYPE, EMPTY.digest, EMPTY.size_bytes),
        "layers": [_descriptor(artifact_type, content.digest, content.size_bytes)],
        "subject": _descriptor(subject.media_type, subject.digest, len(subject.content)),
        "annotations": dict(annotations),
    }
    return _encode(document)


def blobs_of(content: Blob) -> tuple[Blob, Blob]:
    """What an artifact of `content` consists of beside its manifest."""
    return EMPTY, content


def attach(
    repository: Repository,
    subject: Manifest,
    content: Blob,
    *,
    artifact_type: str,
    annotations: Mapping[str, str],
) -> str:
    """Attach `content` to the image `subject`, once however often it is called; the artifact's digest.

    `blobs_of(content)` have to be in the repository before. Raises what Repository's methods raise: RegistryRefused
    where the registry takes no such manifest; nothing is attached then.
    """
    manifest = artifact_manifest(subject, content, artifact_type=artifact_type, annotations=annotations)
    digest = of_bytes(manifest).digest
    headers = repository.push_manifest(manifest, media_type=OCI_MANIFEST, name=digest)
    if "OCI-Subject" not in headers:
        entry = {
            **_descriptor(OCI_MANIFEST, digest, len(manifest)),
            "artifactType": artifact_type,
            "annotations": dict(annotations),
        }
        rows = _listed(repository, subject.digest)
        if all(row.get("digest") != digest for row in rows):
            try:
                _write_list(repository, subject.digest, [*rows, entry])
            except (RegistryRefused, RegistryDenied):
                repository.delete_manifest(digest)  # nobody would find it there
                raise
    return digest


def referrers(repository: Repository, digest: str) -> list[Referrer]:
    """What is attached to the image `digest`, from the registry's own list or the one kept for it."""
    rows: Iterable[Any] = ()
    # Some deny what they do not know; who may not see the list may see the one that is kept for it.
    with contextlib.suppress(ImageCorrupt, RegistryDenied):
        answer = repository.connection.request(
            "GET",
            f"/v2/{repository.name}/referrers/{digest}",
            action=f"list what is attached to {repository.address}@{digest}",
            scopes=frozenset({scope(repository.name, "pull")}),
            repository=repository.name,
            good=(200, *_KEEPS_NO_LIST),
        )
        if answer.status_code == 200:
            rows = _rows(decode(answer.content, f"the list of what is attached to {repository.address}@{digest}"))
    # A registry that learnt about it later has only what was attached since; the kept list has the rest.
    found = {str(row.get("digest")): row for row in (*_listed(repository, digest), *rows)}
    return [Referrer(digest=name, artifact_type=str(row.get("artifactType") or "")) for name, row in found.items()]


def detach_all(repository: Repository, digest: str) -> None:
    """Remove what is attached to the image `digest`, and the list. A registry that does not delete keeps it."""
    for referrer in referrers(repository, digest):
        repository.delete_manifest(referrer.digest)
    if kept := repository.manifest(list_tag(digest)):
        repository.delete_manifest(kept.digest, tags=(list_tag(digest),))


def list_tag(digest: str) -> str:
    """The tag of the list for an image."""
    return digest.replace(":", "-")


def _listed(repository: Repository, digest: str) -> list[dict[str, Any]]:
    kept = repository.manifest(list_tag(digest))
    return _rows(kept.document()) if kept else []


def _rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = document.get("manifests")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _write_list(repository: Repository, digest: str, rows: list[dict[str, Any]]) -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    repository.push_manifest(_encode(document), media_type=OCI_INDEX, name=list_tag(digest))


def _descriptor(media_type: str, digest: str, size_bytes: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size_bytes}


def _encode(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
