"""What Docker's configuration says about a registry, and what registries ask for."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from accelform.errors import RegistryDenied
from accelform.registry.authorization import challenges, scope
from accelform.registry.credentials import Credentials, find


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """configured(document): writes it where Docker's configuration is looked for."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def write(document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        (tmp_path / "config.json").write_text(text)

    return write


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_no_configuration_is_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the file there are no credentials, also where only the home folder could have it."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find("registry.example.com") is None

    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {"r.io": {"auth": encoded("a:b")}}}))
    assert find("r.io") == Credentials(username="a", password="b")


PLACES = (
    "docker/config.json",
    "runtime/containers/auth.json",
    "config/containers/auth.json",
)


def test_podman_and_docker_leave_them_in_several_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first file that knows the registry counts; a file without it hides no other."""
    for name, folder in (("DOCKER_CONFIG", "docker"), ("XDG_RUNTIME_DIR", "runtime"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    for number, place in enumerate(PLACES):
        hosts = [f"only-{number}.io", *(["all.io"] if number else [])]
        auths = {host: {"auth": encoded(f"user-{number}:secret")} for host in hosts}
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(json.dumps({"auths": auths}))

    found = {number: find(f"only-{number}.io") for number in range(len(PLACES))}

    assert {number: each and each.username for number, each in found.items()} == {
        number: f"user-{number}" for number in range(len(PLACES))
    }
    assert find("all.io") == Credentials(username="user-1", password="secret")

    named = tmp_path / "named.json"
    named.write_text(json.dumps({"auths": {"named.io": {"auth": encoded("named:secret")}}}))
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(named))
    assert find("named.io") == Credentials(username="named", password="secret")
    assert find("all.io") is None


@pytest.mark.parametrize("key", ["registry.example.com", "https://registry.example.com"])
def test_an_entry(configured: Any, key: str) -> None:
    """A user and a password, which may hold colons, under the host or its address; nobody else's."""
    configured({"auths": {key: {"auth": encoded("me:a:b")}, "other.example.com": {"auth": encoded("x:y")}}})

    found = find("registry.example.com")

    assert found == Credentials(username="me", password="a:b")
    assert "a:b" not in repr(found)
    assert find("example.com") is None


def test_docker_hub_has_an_old_name(configured: Any) -> None:
    """`docker login` without a host writes the address of the first index."""
    configured({"auths": {"https://index.docker.io/v1/": {"auth": encoded("me:secret")}}})
    assert find("docker.io") == Credentials(username="me", password="secret")


def test_an_identity_token(configured: Any) -> None:
    """What `az acr login` writes."""
    configured({"auths": {"x.azurecr.io": {"auth": encoded("0000:"), "identitytoken": "t"}}})
    assert find("x.azurecr.io") == Credentials(username="0000", identity_token="t")


@pytest.mark.parametrize(
    "document", ["{", "[]", {"auths": {"r.io": {"auth": "%%%"}}}, {"auths": {"r.io": {"auth": encoded("nocolon")}}}]
)
def test_damage_is_told_without_its_content(configured: Any, document: Any) -> None:
    """A damaged file or entry is an error that tells to log in again, and does not show what is in it."""
    configured(document)
    with pytest.raises(RegistryDenied, match=r"Run `docker login r\.io` again") as caught:
        find("r.io")
    assert "nocolon" not in str(caught.value)


@pytest.mark.parametrize("document", [{}, {"auths": None}, {"auths": {"r.io": {}}}, {"auths": {"r.io": "text"}}])
def test_entries_without_credentials(configured: Any, document: Any) -> None:
    """`docker login` with a credential store leaves empty entries."""
    configured(document)
    assert find("r.io") is None


def test_a_challenge_is_taken_apart() -> None:
    """Scheme and parameters, commas inside quotes included, and several offers at once."""
    bearer, basic = challenges(
        'Bearer realm="https://t/token",service="s",scope="repository:a/b:pull,push", Basic realm="r"'
    )

    assert (bearer.scheme, bearer.parameters["scope"]) == ("bearer", "repository:a/b:pull,push")
    assert (basic.scheme, basic.parameters) == ("basic", {"realm": "r"})
    assert challenges("Negotiate") == ()
    assert scope("a/b", "pull", "push") == "repository:a/b:pull,push"
