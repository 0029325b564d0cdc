"""Who one is, and whom one talks to: users, tokens, helpers, certificates, and registries that are not there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from tests.support import registries
from tests.support.ports import free_port
from tests.support.registries import PASSWORD, USER, RunningRegistry, log_in
from tests.support.token_service import IDENTITY_TOKEN, TokenService, token_service

from accelform.errors import RegistryDenied, RegistryUnreachable, RegistryUntrusted
from accelform.registry import Connection, Repository, blobs, connection, repository

Open = Callable[..., Repository]
BLOB = blobs.of_bytes(b"some content")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(connection, "PAUSES_SECONDS", (0.01, 0.01, 0.01))


@pytest.fixture(scope="module")
def tokens() -> Iterator[TokenService]:
    with token_service() as service:
        yield service


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory, tokens: TokenService) -> Iterator[RunningRegistry]:
    """A registry whose users show tokens."""
    folder = tmp_path_factory.mktemp("tokens")
    with registries.registry(folder, extra=tokens.registry_settings(folder)) as running:
        yield running


def test_a_user_over_private_tls(open_repository: Open, with_users: RunningRegistry, docker_config: Path) -> None:
    """With the authority's file and what `docker login` left, pushing works; over TLS, on this machine too."""
    log_in(docker_config, with_users.host)
    opened = open_repository(with_users.host, "team/model", ca_file=with_users.ca_file)

    assert opened.push_blob(BLOB)
    assert opened.read_blob(BLOB.digest) == b"some content"


def test_nobody_and_a_wrong_password(open_repository: Open, with_users: RunningRegistry, docker_config: Path) -> None:
    """Without credentials the message tells to log in; with wrong ones to do so again, and it never has them."""
    opened = open_repository(with_users.host, "team/model", ca_file=with_users.ca_file)
    with pytest.raises(RegistryDenied, match=f"no credentials for {with_users.host}. Run `docker login"):
        opened.push_blob(BLOB)

    log_in(docker_config, with_users.host, password="wrong secret")
    opened = open_repository(with_users.host, "team/model", ca_file=with_users.ca_file)
    with pytest.raises(RegistryDenied, match="with the credentials that Docker's configuration has") as caught:
        opened.push_blob(BLOB)

    assert "wrong secret" not in str(caught.value)


def test_a_credential_helper(
    open_repository: Open,
    with_users: RunningRegistry,
    docker_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Credentials come from the program that Docker's configuration names; a missing one is named."""
    docker_config.mkdir()
    (docker_config / "config.json").write_text(json.dumps({"credHelpers": {with_users.host: "accelform-test"}}))
    opened = open_repository(with_users.host, "team/helper", ca_file=with_users.ca_file)
    with pytest.raises(RegistryDenied, match="docker-credential-accelform-test, which is not on PATH"):
        opened.push_blob(BLOB)

    helper = tmp_path / "bin" / "docker-credential-accelform-test"
    helper.parent.mkdir()
    answer = json.dumps({"ServerURL": with_users.host, "Username": USER, "Secret": PASSWORD})
    helper.write_text(f"#!/bin/sh\nread server\n[ $server = {with_users.host} ] && echo '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}{os.pathsep}{os.environ['PATH']}")

    assert open_repository(with_users.host, "team/helper", ca_file=with_users.ca_file).push_blob(BLOB)


def test_a_certificate_of_another_authority(with_users: RunningRegistry, tmp_path: Path) -> None:
    """A registry whose certificate the given authority did not sign is not spoken to."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    with (
        Connection(with_users.host, ca_file=str(tmp_path / "other.pem")) as other,
        pytest.raises(RegistryUntrusted, match=r"not trusted \(.*registry_ca_file"),
    ):
        other.ping()
    with Connection(with_users.host) as none, pytest.raises(RegistryUntrusted, match="registry_ca_file"):
        none.ping()
    with pytest.raises(RegistryUntrusted, match="is no file with an authority"):
        Connection(with_users.host, ca_file=str(tmp_path / "missing.pem"))


def test_nothing_listens() -> None:
    """A registry that is not there is told as such, after a few tries and not after minutes."""
    with (
        Connection(f"127.0.0.1:{free_port()}") as nobody,
        pytest.raises(RegistryUnreachable, match=r"did not answer or broke off \(.*refused.*Check that it runs"),
    ):
        nobody.ping()


def test_plain_http_stays_on_this_machine() -> None:
    """A registry elsewhere is spoken to with TLS only."""
    with Connection("registry.invalid:5000") as elsewhere:
        assert elsewhere._address("/v2/") == "https://registry.invalid:5000/v2/"
        with pytest.raises(RegistryUnreachable, match=r"registry\.invalid"):
            elsewhere.ping()


def test_tokens_for_a_password(
    open_repository: Open, with_tokens: RunningRegistry, tokens: TokenService, docker_config: Path
) -> None:
    """A token is asked for once per set of scopes; a mount has one for both repositories, and sends nothing."""
    log_in(docker_config, with_tokens.host)
    base, model = (open_repository(with_tokens.host, f"team/{name}") for name in ("base", "model"))
    tokens.given.clear()

    assert base.push_blob(BLOB)
    assert model.mount(BLOB.digest, source="team/base")
    assert model.has_blob(BLOB.digest)

    assert ["repository:team/base:pull", "repository:team/model:pull,push"] in tokens.given
    assert len(tokens.given) == len({tuple(scopes) for scopes in tokens.given})


def test_an_identity_token(open_repository: Open, with_tokens: RunningRegistry, docker_config: Path) -> None:
    """What `az acr login` leaves is exchanged for tokens."""
    docker_config.mkdir()
    entry = {"auth": "MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAwOg==", "identitytoken": IDENTITY_TOKEN}
    (docker_config / "config.json").write_text(json.dumps({"auths": {with_tokens.host: entry}}))

    assert open_repository(with_tokens.host, "team/identity").push_blob(BLOB)


def test_a_token_that_ran_out(
    open_repository: Open, with_tokens: RunningRegistry, tokens: TokenService, docker_config: Path
) -> None:
    """Another one is fetched; the registry allows a minute for clocks, so this one ended before that."""
    log_in(docker_config, with_tokens.host)
    opened = open_repository(with_tokens.host, "team/expired")
    tokens.lifetime_seconds = -100
    with pytest.raises(RegistryDenied, match="says Unauthorized"):
        opened.has_blob(BLOB.digest)
    tokens.lifetime_seconds = 300

    assert opened.push_blob(BLOB)


def test_the_right_to_pull_is_none_to_push(open_repository: Open, with_tokens: RunningRegistry) -> None:
    """Whoever may only pull is told so when pushing; somebody without credentials may still pull what is open."""
    opened = open_repository(with_tokens.host, "open/model")

    assert not opened.has_blob(BLOB.digest)
    with pytest.raises(RegistryDenied, match=r"cannot push blob to .*open/model"):
        opened.push_blob(BLOB)


def test_credentials_do_not_go_to_a_plain_token_service(with_tokens: RunningRegistry, docker_config: Path) -> None:
    """A registry that sends to a token service over plain HTTP elsewhere gets nothing."""
    log_in(docker_config, with_tokens.host)
    with Connection(with_tokens.host) as opened:
        challenge = 'Bearer realm="http://tokens.example.com/token",service="x"'
        opened._authorizer.challenged(challenge, frozenset(), "team/model")
        with pytest.raises(RegistryDenied, match="credentials could be read on the way"):
            repository.Repository(connection=opened, name="team/model").has_blob(BLOB.digest)


def test_a_registry_in_trouble_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """429 and 5xx are tried again, then told as trouble of the registry; other refusals are told at once."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    answers = [503, 429, 200, *[500] * 4]
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(answers[len(asked) - 1])
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        with Connection(f"127.0.0.1:{server.server_port}") as opened:
            opened.request("GET", "/v2/", action="try", scopes=frozenset(), good=(200,))
            assert len(asked) == 3
            with pytest.raises(RegistryUnreachable, match="answered 500"):
                opened.request("GET", "/v2/", action="try", scopes=frozenset(), good=(200,))
            assert len(asked) == 7
    finally:
        server.shutdown()
        server.server_close()
