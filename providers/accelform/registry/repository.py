"""One repository in a registry: its blobs, manifests and tags (distribution-spec 1.1)."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests

from accelform._base.progress import Progress, silent
from accelform.errors import AccelformError, ImageCorrupt, RegistryRefused, RegistryUnreachable
from accelform.registry import uploads
from accelform.registry.authorization import scope
from accelform.registry.blobs import READ_BYTES, Blob
from accelform.registry.connection import Connection

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_INDEX)
MAX_DOCUMENT_BYTES = 4 << 20
"""What every registry takes as a manifest (distribution-spec, "Pushing Manifests"), and more than any needs."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A manifest or an index as the registry keeps it: its bytes are what the digest is of."""

    media_type: str
    content: bytes
    digest: str

    def document(self) -> dict[str, Any]:
        """The content as JSON. Raises ImageCorrupt."""
        return decode(self.content, f"manifest {self.digest}")


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Reads and writes below `name` ("team/digits"). Every method raises Connection.request's errors."""

    connection: Connection
    name: str

    @property
    def address(self) -> str:
        """For people: host and name."""
        return f"{self.connection.registry}/{self.name}"

    def has_blob(self, digest: str) -> bool:
        """Whether the blob is in this repository."""
        answer = self._ask("HEAD", f"blobs/{digest}", good=(200, 404))
        return answer.status_code == 200

    def mount(self, digest: str, *, source: str) -> bool:
        """Make a blob of repository `source` in the same registry one of this too, without sending it.

        False where the registry did not: it does not know the blob there, may not show it, or cannot do this.
        """
        return uploads.mount(self.connection, self.name, digest, source)

    def push_blob(self, blob: Blob, *, progress: Progress | None = None, what: str = "blob") -> bool:
        """Send the blob unless it is there; whether it was sent. For the rest see `send_blob`."""
        if self.has_blob(blob.digest):
            return False
        self.send_blob(blob, progress=progress, what=what)
        return True

    def send_blob(self, blob: Blob, *, progress: Progress | None = None, what: str = "blob") -> None:
        """Send the blob. `progress` hears MB of large ones.

        A broken connection is taken up again where it broke. Raises RegistryRefused where the content has another
        digest.
        """
        uploads.upload(self.connection, self.name, blob, progress=progress or silent, what=what)

    def stream_blob(self, digest: str) -> Iterator[bytes]:
        """The blob in chunks; at its end raises ImageCorrupt where its content is not what the digest says."""
        answer = self._ask("GET", f"blobs/{digest}", good=(200,), stream=True)
        hashed = hashlib.sha256()
        with answer, self.connection.mapped(f"pull {digest} from {self.address}"):
            for chunk in answer.iter_content(READ_BYTES):
                hashed.update(chunk)
                yield chunk
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise _corrupt(self.address, digest, f"what came has the sha256 {hashed.hexdigest()}")

    def read_blob(self, digest: str) -> bytes:
        """A small blob, such as a configuration. Raises ImageCorrupt, also for one of more than 4 MB."""
        content = bytearray()
        for chunk in self.stream_blob(digest):
            content += chunk
            if len(content) > MAX_DOCUMENT_BYTES:
                raise _corrupt(self.address, digest, f"it is larger than {MAX_DOCUMENT_BYTES} bytes")
        return bytes(content)

    def manifest(self, name: str) -> Manifest | None:
        """The manifest of a tag or digest, or None where there is none. Raises ImageCorrupt where it is another."""
        accept = {"Accept": ", ".join(ACCEPTED)}
        answer = self._ask("GET", f"manifests/{name}", good=(200, 404), headers=accept, stream=True)
        with answer:
            if answer.status_code == 404:
                return None
            content = bytearray()
            with self.connection.mapped(f"pull {self.address}@{name}"):
                for chunk in answer.iter_content(READ_BYTES):
                    content += chunk
                    if len(content) > MAX_DOCUMENT_BYTES:
                        raise _corrupt(self.address, name, f"it is larger than {MAX_DOCUMENT_BYTES} bytes")
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if name.startswith("sha256:") and digest != name:
            raise _corrupt(self.address, name, f"what came has the digest {digest}")
        media_type = answer.headers.get("Content-Type", "").split(";")[0].strip()
        return Manifest(media_type=media_type, content=bytes(content), digest=digest)

    def has_manifest(self, name: str) -> bool:
        """Whether there is a manifest of this tag or digest."""
        accept = {"Accept": ", ".join(ACCEPTED)}
        return self._ask("HEAD", f"manifests/{name}", good=(200, 404), headers=accept).status_code == 200

    def push_manifest(self, content: bytes, *, media_type: str, name: str) -> Mapping[str, str]:
        """Put a manifest under a tag or its digest; all that it names must be there. Returns the answer's headers.

        Raises RegistryRefused, for example where a blob is missing.
        """
        headers = {"Content-Type": media_type}
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        try:
            answer = self._ask(
                "PUT", f"manifests/{name}", good=(201,), headers=headers, body=content, actions="pull,push"
            )
        except (RegistryRefused, RegistryUnreachable):
            # It may be there by an earlier answer that was lost, and a tag that is set may be one that stays.
            with contextlib.suppress(AccelformError):
                if (there := self.manifest(name)) and there.digest == digest:
                    return {}
            raise
        stored = answer.headers.get("Docker-Content-Digest", digest)
        if stored != digest:
            raise RegistryUnreachable(
                f"cannot push {self.address}:{name}: the registry keeps it as {stored} instead of {digest}, so "
                "something between here and it changes what is sent."
            )
        return answer.headers

    def delete_manifest(self, digest: str, *, tags: tuple[str, ...] = ()) -> bool:
        """Remove a manifest with its tags. False where the registry does not delete; one that is gone is fine.

        Most registries drop the tags by themselves; some keep them, and Google's refuse as long as there are any.
        """
        answer = self._delete(digest, good=(200, 202, 400, 404, 405))
        if answer.status_code == 405:
            return False
        for tag in tags:
            there = self.manifest(tag)
            if there is not None and there.digest == digest:
                self._delete(tag, good=(200, 202, 400, 404, 405))
        if answer.status_code == 400:
            self._delete(digest, good=(200, 202, 404))
        return True

    def _delete(self, name: str, *, good: tuple[int, ...]) -> requests.Response:
        return self._ask("DELETE", f"manifests/{name}", good=good, actions="delete,pull,push")

    def _ask(
        self, method: str, path: str, *, good: tuple[int, ...], actions: str = "pull", **more: Any
    ) -> requests.Response:
        verb = {"PUT": "push to", "DELETE": "delete from"}.get(method, "look into" if method == "HEAD" else "pull from")
        return self.connection.request(
            method,
            f"/v2/{self.name}/{path}",
            action=f"{verb} {self.address} ({path})",
            scopes=frozenset({scope(self.name, actions)}),
            repository=self.name,
            good=good,
            **more,
        )


def decode(content: bytes, where: str) -> dict[str, Any]:
    """A JSON object. Raises ImageCorrupt."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ImageCorrupt(f"cannot read {where}: it is not a JSON object. Push the image again.")
    return document


def _corrupt(address: str, name: str, why: str) -> ImageCorrupt:
    return ImageCorrupt(
        f"cannot use {address}@{name}: {why}. The registry, or something between here and it, changed it. "
        "Pull it with another tool to see whose fault it is, and push it again."
    )
