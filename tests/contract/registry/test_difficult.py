"""Registries that refuse what they need not take, forget, answer late or elsewhere, and what is in front of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import registries
from tests.support.difficult_registry import Front, Trouble, front
from tests.support.registries import PASSWORD, USER, RunningRegistry, log_in
from tests.support.token_service import TokenService, token_service

from accelform.errors import RegistryDenied, RegistryRefused, RegistryUnreachable
from accelform.images import layout
from accelform.images.layout import Descriptor
from accelform.images.pushing import InRegistry
from accelform.registry import Connection, Manifest, Repository, blobs, connection, referrers, uploads
from accelform.registry.blobs import Blob
from accelform.registry.repository import OCI_MANIFEST

Open = Callable[..., Repository]
MEGABYTE = 1 << 20
UPLOADS = "/blobs/uploads/"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 1 MB, and short pauses between tries."""
    monkeypatch.setattr(uploads, "PART_BYTES", MEGABYTE)
    for module in (uploads, connection):
        monkeypatch.setattr(module, "PAUSES_SECONDS", (0.01, 0.01, 0.01))


@pytest.fixture
def before(shared: RunningRegistry) -> Iterator[Front]:
    """What stands in front of the shared registry."""
    with front(shared.port) as made:
        yield made


def blob_of(seed: str, size_bytes: int) -> Blob:
    return blobs.of_bytes(random.Random(seed).randbytes(size_bytes))


def layer_of_the_base(base: Repository, model: Repository, blob: Blob) -> tuple[str, int]:
    """Has the base's layer in an image: how it got there, and the bytes that took."""
    layer = Descriptor(media_type=layout.LAYER_TYPE, digest=blob.digest, size_bytes=blob.size_bytes)
    return InRegistry(repository=model, tag="1", source=base).bring(layer, None, what="layer", tell=lambda _: None)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 429, 500, 503, 0])
def test_a_mount_that_is_refused(open_repository: Open, shared: RunningRegistry, before: Front, status: int) -> None:
    """However a registry says no to a mount, the layer is pulled from where it is and sent."""
    base = open_repository(before.host, "refuses/base")
    model = open_repository(before.host, f"refuses/model{status}")
    blob = blob_of("refused mount", 1000)
    base.push_blob(blob)
    before.troubles.append(Trouble(method="POST", path=r"mount=", status=status))

    brought = layer_of_the_base(base, model, blob)

    assert brought == (f"copied from {base.address}, as the registry mounts nothing from there", 1000)
    assert model.read_blob(blob.digest) == b"".join(blob.open())


def test_a_token_that_is_not_for_the_base(
    open_repository: Open, tmp_path: Path, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that gives no token for two repositories at once: the layer is pulled with one, sent with another."""
    with (
        token_service() as tokens,
        registries.registry(tmp_path / "tokens", extra=tokens.registry_settings(tmp_path)) as running,
    ):
        log_in(docker_config, running.host)
        base, model = (open_repository(running.host, f"team/{name}") for name in ("base", "model"))
        blob = blob_of("token for one", 1000)
        base.push_blob(blob)
        for_one = TokenService.token

        def refusing(self: TokenService, scopes: list[str], *, user: str) -> str:
            return "" if len(scopes) > 1 else for_one(self, scopes, user=user)

        monkeypatch.setattr(TokenService, "token", refusing)
        layer_of_the_base(base, model, blob)

        assert model.has_blob(blob.digest)


@pytest.mark.parametrize("status", [0, 404, 500, 504])
@pytest.mark.parametrize("size_bytes", [1000, 2 * MEGABYTE])
def test_the_end_of_an_upload_whose_answer_is_lost(
    open_repository: Open, before: Front, status: int, size_bytes: int
) -> None:
    """The registry has the blob, and no or another answer comes: that is asked for, and nothing sent twice."""
    repository = open_repository(before.host, f"lost/n{size_bytes}-{status}")
    blob = blob_of(f"lost {size_bytes} {status}", size_bytes)
    before.troubles.append(Trouble(method="PUT", path=UPLOADS, status=status, is_done=True))

    repository.push_blob(blob)

    assert repository.read_blob(blob.digest) == b"".join(blob.open())
    assert sum(request.size_bytes for request in before.asked) == size_bytes


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_an_upload_that_the_registry_forgets(open_repository: Open, before: Front, method: str) -> None:
    """An upload that is unknown in its middle or at its end is begun again; one that always is ends, with a reason."""
    repository = open_repository(before.host, f"forgets/{method.lower()}")
    blob = blob_of(f"forgotten {method}", 2 * MEGABYTE)
    before.troubles += [
        Trouble(method=method, path=UPLOADS, status=0, times=1),
        Trouble(method="GET", path=UPLOADS, status=404, times=1),
        Trouble(method=method, path=UPLOADS, status=404, times=1),
    ]

    repository.push_blob(blob)

    assert repository.has_blob(blob.digest)
    before.troubles.append(Trouble(method="PUT", path=UPLOADS, status=404))
    with pytest.raises(RegistryUnreachable, match="forgot what it had, 4 times"):
        repository.push_blob(blob_of(f"always forgotten {method}", 2 * MEGABYTE))


@pytest.mark.parametrize("as_a_date", [False, True])
@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", UPLOADS), ("PATCH", UPLOADS), ("POST", UPLOADS), ("PUT", "/manifests/"), ("GET", "/v2/$")],
)
def test_a_registry_that_asks_to_wait(
    open_repository: Open, before: Front, method: str, path: str, as_a_date: bool
) -> None:
    """By Retry-After, in seconds or as a date: nothing comes before, and the refused request comes once more."""
    before.put_off(1, as_a_date=as_a_date, method=method, path=path)
    repository = open_repository(before.host, f"waits/{method.lower()}{as_a_date}".lower())
    blob = blob_of(f"waits {method} {path} {as_a_date}", 2 * MEGABYTE if method == "PATCH" else 1000)

    repository.push_blob(blob)
    if "manifests" in path:
        parts = [{"mediaType": "a/b", "digest": blob.digest, "size": blob.size_bytes}]
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": parts}
        repository.push_manifest(json.dumps(manifest).encode(), media_type=OCI_MANIFEST, name="1")

    assert not [request for request in before.asked if request.was_early]
    assert [trouble.times for trouble in before.troubles] == [0]
    assert repository.has_blob(blob.digest)


def test_a_registry_that_asks_to_wait_for_long(
    open_repository: Open, before: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than anyone waits at a terminal: it is said for how long, at once."""
    repository = open_repository(before.host, "later/model")
    before.troubles.append(Trouble(method="POST", path=UPLOADS, status=429, headers={"Retry-After": "3600"}))

    with pytest.raises(RegistryUnreachable, match=r"answered 429 .*takes more in 3600 s only. Run the same command"):
        repository.push_blob(blob_of("later", 1000))

    assert before.methods("later/.*uploads") == ["POST"]


def test_a_wait_is_told_and_can_be_given_up(before: Front) -> None:
    """Whoever waits hears of it with the seconds; whoever gave up has not to wait for that."""
    told: list[str] = []
    before.put_off(30, method="HEAD", path="given-up")

    def hear(line: str) -> None:
        told.append(line)
        waiting.give_up()

    with (
        Connection(before.host, progress=hear) as waiting,
        pytest.raises(RegistryUnreachable, match="was given up"),
    ):
        Repository(connection=waiting, name="given-up/model").has_manifest("1")

    assert told == [f"{before.host} answered 429 and asks to wait 30 s"]


def test_a_token_service_that_asks_to_wait(open_repository: Open, tmp_path: Path, docker_config: Path) -> None:
    """It is waited for as the registry is, and has seen the credentials once."""
    with token_service() as tokens, front(tokens.port) as before:
        tokens.shown_at = before.port
        with registries.registry(tmp_path / "tokens", extra=tokens.registry_settings(tmp_path)) as running:
            log_in(docker_config, running.host)
            before.put_off(1, method="GET", path="/token")
            repository = open_repository(running.host, "team/model")

            assert repository.push_blob(blob_of("token later", 1000))

    assert not [request for request in before.asked if request.was_early]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("size_bytes", [1000, 2 * MEGABYTE])
def test_an_upload_that_goes_on_elsewhere(
    open_repository: Open, shared: RunningRegistry, before: Front, status: int, size_bytes: int
) -> None:
    """The start is redirected, and who answers there gives relative addresses: they are that one's."""
    with front(shared.port, gives_relative_locations=True) as elsewhere:
        before.troubles += [
            Trouble(
                method="POST", path=UPLOADS, status=status, headers={"Location": f"http://{elsewhere.host}{{path}}"}
            ),
            Trouble(method="PUT|PATCH", path=UPLOADS, status=404),
        ]
        repository = open_repository(before.host, f"elsewhere/n{size_bytes}-{status}")
        blob = blob_of(f"elsewhere {size_bytes} {status}", size_bytes)

        repository.push_blob(blob)

    assert repository.has_blob(blob.digest)
    assert set(elsewhere.methods(UPLOADS)) == ({"POST", "PUT"} if size_bytes == 1000 else {"POST", "PATCH", "PUT"})


def test_a_blob_that_is_stored_elsewhere_sees_no_credentials(
    open_repository: Open, shared: RunningRegistry, tmp_path: Path, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the registry's nor what ~/.netrc has for that host, whatever it asks for; the registry gets its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    (tmp_path / ".netrc").write_text("machine localhost login netrc password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    blob = blob_of("elsewhere", 1000)
    open_repository(shared.host, "team/stored").push_blob(blob)
    with (
        front(shared.port) as storage,
        registries.registry(tmp_path / "users", htpasswd=True) as with_users,
        front(with_users.port) as before,
    ):
        log_in(docker_config, before.host)
        address = f"http://localhost:{storage.port}{{path}}"
        before.troubles.append(Trouble(method="GET", path="/blobs/sha256", status=307, headers={"Location": address}))
        storage.troubles.append(
            Trouble(method="GET", path="never", status=401, headers={"Www-Authenticate": f'Basic realm="{USER}"'})
        )
        repository = open_repository(before.host, "team/stored")
        repository.connection._session.trust_env = True  # as for a registry that is not on this machine

        assert repository.manifest("none") is None
        assert repository.read_blob(blob.digest) == b"".join(blob.open())

        storage.troubles[0].path = "/blobs/"
        with pytest.raises(RegistryDenied):
            repository.read_blob(blob.digest)

    assert {request.authorization for request in storage.asked} == {""}
    assert any(request.authorization for request in before.asked)
    assert PASSWORD not in str(storage.asked)


def test_nothing_goes_on_in_clear(open_repository: Open, before: Front) -> None:
    """A registry that sends to another machine over plain HTTP is told of, and nothing is sent there."""
    before.troubles.append(
        Trouble(method="POST", path=UPLOADS, status=307, headers={"Location": "http://registry.invalid{path}"})
    )
    repository = open_repository(before.host, "clear/model")

    with pytest.raises(RegistryRefused, match=r"sends on to http://registry\.invalid, where it could be read"):
        repository.push_blob(blob_of("clear", 1000))


@pytest.mark.parametrize("reads", [True, False])
@pytest.mark.parametrize("size_bytes", [900_000, 3 * MEGABYTE])
def test_a_limit_in_front_makes_parts_smaller(
    open_repository: Open, before: Front, size_bytes: int, reads: bool
) -> None:
    """A proxy that takes no more than 300 kB at once gets parts that it takes, for this blob and the next."""
    before.largest_body_bytes, before.reads_what_it_refuses = 300_000, reads
    repository = open_repository(before.host, f"limited/n{size_bytes}{reads}".lower())
    first, second = (blob_of(f"{name} {size_bytes} {reads}", size_bytes) for name in ("first", "second"))
    told: list[str] = []

    repository.push_blob(first, progress=told.append, what="model")
    refused = sum(request.size_bytes > 300_000 for request in before.asked)
    repository.push_blob(second)

    assert repository.read_blob(first.digest) == b"".join(first.open())
    assert repository.read_blob(second.digest) == b"".join(second.open())
    assert sum(request.size_bytes > 300_000 for request in before.asked) == refused
    assert told[0].startswith(f"model: {before.host} takes no ")


@pytest.mark.parametrize("takes_parts", [True, False])
def test_a_limit_in_front_that_is_too_low(open_repository: Open, before: Front, takes_parts: bool) -> None:
    """Where no part is small enough, or none is taken, the message says who limits and what to raise."""
    before.largest_body_bytes = 1000
    if not takes_parts:
        before.troubles.append(Trouble(method="PATCH", path=UPLOADS, status=405))
    repository = open_repository(before.host, "low/model")

    with pytest.raises(RegistryRefused, match=r"in front of the registry limits .*client_max_body_size"):
        repository.push_blob(blob_of("low", 3 * MEGABYTE))


def test_a_manifest_that_is_too_large_for_what_is_in_front(open_repository: Open, before: Front) -> None:
    """Manifests go whole, so there it can only be said."""
    before.largest_body_bytes = 10

    with pytest.raises(RegistryRefused, match="limits how much one request may hold"):
        open_repository(before.host, "low/manifest").push_manifest(b'{"schemaVersion": 2}', media_type="a/b", name="1")


@pytest.mark.parametrize("status", [0, 400, 409, 504])
def test_a_manifest_that_is_there_is_not_put_again(open_repository: Open, before: Front, status: int) -> None:
    """Its answer was lost, or its tag is one that stays: what matters is that it is the same."""
    repository = open_repository(before.host, f"stays/n{status}")
    blob = blob_of("stays", 1000)
    repository.push_blob(blob)
    part = {"mediaType": "a/b", "digest": blob.digest, "size": blob.size_bytes}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": part, "layers": [part]}
    one, other = (json.dumps({**document, "annotations": {"is": name}}).encode() for name in ("one", "other"))
    before.troubles += [
        Trouble(method="PUT", path="/manifests/", status=status, is_done=True, times=1),
        Trouble(method="PUT", path="/manifests/", status=status or 400),
    ]

    repository.push_manifest(one, media_type=OCI_MANIFEST, name="1")

    assert repository.manifest("1") == Manifest(media_type=OCI_MANIFEST, content=one, digest=blobs.of_bytes(one).digest)
    with pytest.raises((RegistryRefused, RegistryUnreachable), match=r"cannot push to .*stays/"):
        repository.push_manifest(other, media_type=OCI_MANIFEST, name="1")


@pytest.mark.parametrize("status", [400, 403, 404, 405, 501])
def test_a_registry_that_lists_nothing(open_repository: Open, before: Front, status: int) -> None:
    """However it says so, what is attached stands in the list that is kept, and none is no error."""
    before.troubles.append(Trouble(method="GET", path="/referrers/", status=status))

    assert referrers.referrers(open_repository(before.host, "lists/none"), "sha256:" + "0" * 64) == []
