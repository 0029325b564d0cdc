"""Blobs against a real registry: sent once, mounted without being sent, taken up again after a broken connection."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.registries import RunningRegistry, Wire

from accelform.errors import ImageCorrupt, RegistryRefused, RegistryUnreachable
from accelform.registry import Repository, blobs, connection, uploads

Open = Callable[..., Repository]
MEGABYTE = 1 << 20


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1 MB, and no waiting between tries."""
    monkeypatch.setattr(uploads, "PART_BYTES", MEGABYTE)
    monkeypatch.setattr(uploads, "PAUSES_SECONDS", (0.05, 0.05, 0.05))
    monkeypatch.setattr(connection, "PAUSES_SECONDS", (0.05, 0.05, 0.05))


def content_of(seed: str, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def test_a_blob_is_sent_once(open_repository: Open, shared: RunningRegistry, wire: Wire) -> None:
    """The second push of the same blob asks, and sends nothing; what comes back is what was sent."""
    repository = open_repository(wire.host, "once/model")
    blob = blobs.of_bytes(content_of("once", 300_000))

    assert repository.push_blob(blob)
    after_first = wire.sent_bytes
    assert not repository.push_blob(blob)

    assert after_first > 300_000
    assert wire.sent_bytes - after_first < 1000
    assert repository.read_blob(blob.digest) == b"".join(blob.open())
    assert [line for line in shared.requests() if "once/model" in line and line.startswith(("POST", "PUT", "PATCH"))]
    assert sum(line.startswith("PUT") and "once/model" in line for line in shared.requests()) == 1


def test_a_mount_sends_nothing(open_repository: Open, shared: RunningRegistry, wire: Wire) -> None:
    """A blob of another repository becomes one of this by name alone; one that nobody has does not."""
    base, model = (open_repository(wire.host, f"mount/{name}") for name in ("base", "model"))
    blob = blobs.of_bytes(content_of("mount", 2 * MEGABYTE))
    base.push_blob(blob)
    before, stored = wire.sent_bytes, shared.stored_bytes()

    assert not model.has_blob(blob.digest)
    assert model.mount(blob.digest, source="mount/base")
    assert model.has_blob(blob.digest)
    assert not model.mount("sha256:" + "0" * 64, source="mount/base")

    assert wire.sent_bytes - before < 3000
    assert shared.stored_bytes() == stored
    assert not [line for line in shared.requests() if line.startswith(("PATCH", "PUT")) and "mount/model" in line]
    begun = shared.storage / "docker/registry/v2/repositories/mount/model/_uploads"
    assert not list(begun.rglob("data")), "the upload that the registry began instead is called off"


def test_a_large_blob_goes_in_parts(
    open_repository: Open, shared: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a part goes in several requests, from a file, and is told in MB while it takes long."""
    monkeypatch.setattr(uploads, "_TELL_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(uploads, "TELL_FROM_BYTES", MEGABYTE)
    content = content_of("parts", 3 * MEGABYTE + 17)
    path = tmp_path / "layer.tar"
    path.write_bytes(content)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    told: list[str] = []
    repository = open_repository(shared.host, "parts/model")

    repository.push_blob(
        blobs.of_file(path, digest=digest, size_bytes=len(content)), progress=told.append, what="model layer"
    )

    assert sum(line.startswith("PATCH") and "parts/model" in line for line in shared.requests()) == 4
    assert shared.blob_file(digest).read_bytes() == content
    assert told[-1] == "model layer: 3 of 3 MB"


@pytest.mark.parametrize("size_bytes", [900_000, 3 * MEGABYTE])
def test_a_broken_upload_is_taken_up_again(
    open_repository: Open, shared: RunningRegistry, wire: Wire, size_bytes: int
) -> None:
    """The connection breaks in the middle of a body, several times: the blob arrives whole and is not sent for ever."""
    content = content_of(f"broken {size_bytes}", size_bytes)
    blob = blobs.of_bytes(content)
    repository = open_repository(wire.host, f"broken/n{size_bytes}")
    before = wire.sent_bytes
    wire.breaks += [400_000, 500_000]

    repository.push_blob(blob)

    assert not wire.breaks, "the wire broke as often as it was told to"
    assert shared.blob_file(blob.digest).read_bytes() == content
    assert wire.sent_bytes - before < 2 * size_bytes + 1_500_000


def test_an_upload_that_always_breaks_ends(open_repository: Open, wire: Wire) -> None:
    """After some tries it is told, with what to do; the blob is not there, and the next run brings it."""
    blob = blobs.of_bytes(content_of("never", 700_000))
    repository = open_repository(wire.host, "never/model")
    wire.breaks += [300_000] * 4

    with pytest.raises(RegistryUnreachable, match=r"cannot push blob to .*never/model.*run the same command again"):
        repository.push_blob(blob)

    assert not repository.has_blob(blob.digest)
    wire.breaks.clear()
    assert repository.push_blob(blob)


@pytest.mark.parametrize("size_bytes", [1000, 2 * MEGABYTE])
def test_other_content_than_its_digest_is_refused(
    open_repository: Open, shared: RunningRegistry, size_bytes: int
) -> None:
    """The registry checks what it gets, in one request and in parts; nothing of it becomes visible."""
    blob = replace(blobs.of_bytes(content_of("right", size_bytes)), open=lambda: iter([bytes(size_bytes)]))
    repository = open_repository(shared.host, "mismatch/model")

    with pytest.raises(RegistryRefused, match="DIGEST_INVALID"):
        repository.push_blob(blob)

    assert not repository.has_blob(blob.digest)


def test_damage_in_the_registry_is_seen(open_repository: Open, shared: RunningRegistry) -> None:
    """A blob or manifest that was changed in the registry's storage is not taken for what its digest says."""
    repository = open_repository(shared.host, "damage/model")
    blob = blobs.of_bytes(b'{"a": 1}')
    repository.push_blob(blob)
    shared.blob_file(blob.digest).write_bytes(b'{"a": 2}')

    with pytest.raises(ImageCorrupt, match="changed it"):
        repository.read_blob(blob.digest)


def test_a_registry_that_takes_no_parts(
    open_repository: Open, shared: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a PATCH is refused the blob goes whole, in one request."""
    blob = blobs.of_bytes(content_of("whole", 2 * MEGABYTE + 5))
    repository = open_repository(shared.host, "whole/model")
    ask = connection.Connection.request

    def without_patch(self: connection.Connection, method: str, path: str, **more: object) -> object:
        if method == "PATCH":
            path = "/v3/"  # answered with 404, as a registry without parts does
        return ask(self, method, path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(connection.Connection, "request", without_patch)
    repository.push_blob(blob)

    assert shared.blob_file(blob.digest).stat().st_size == blob.size_bytes
    assert sum(line.startswith("PUT") and "whole/model" in line for line in shared.requests()) == 1
