"""What Docker's configuration says about a registry, and what registries ask for."""

from __future__ import annotations

import base64
import json
import os
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


@pytest.mark.parametrize(
    "key",
    [
        *(
            f"{scheme}registry.example.com{rest}"
            for scheme in ("", "http://", "https://")
            for rest in ("", "/", "/v1/")
        ),
        *("https://registry.example.com/v2", "registry.example.com/v2/", "https://registry.example.com/some/page"),
        *("registry.example.com:443", "https://registry.example.com:443/v1/", "http://registry.example.com:80"),
        *("registry.example.com/team", "registry.example.com/team/model"),
    ],
)
@pytest.mark.parametrize("registry", ["registry.example.com", "registry.example.com:443"])
def test_the_names_of_an_entry(configured: Any, key: str, registry: str) -> None:
    """As tools write a host: with a scheme, a usual port, an old path; or a repository in it, as podman does."""
    configured({"auths": {key: {"auth": encoded("me:secret")}}})

    assert find(registry, "team/model") == Credentials(username="me", password="secret")
    assert find("registry.example.com:5000", "team/model") is None
    assert find("registry.example.com.example.org", "team/model") is None


def test_the_entry_that_says_most_counts(configured: Any) -> None:
    """A repository's before its folder's before the host's; another repository gets none of theirs."""
    names = ("r.io", "https://r.io/v1/", "r.io/team", "r.io/team/model", "r.io/te")
    configured({"auths": {name: {"auth": encoded(f"{name}:secret")} for name in names}})

    def user(repository: str) -> str:
        found = find("r.io", repository)
        return found.username if found else ""

    assert user("team/model") == "r.io/team/model"
    assert user("team/model/deeper") == "r.io/team/model"
    assert user("team/models") == "r.io/team"
    assert user("other") == user("") == "r.io"


KNOWS_AN_ADDRESS = """#!/bin/sh
read server
case "$1 $server" in
"list "*) echo '{"https://r.io/v1/": "me", "https://other.io": "me"}' ;;
"get https://r.io/v1/") echo '{"Username": "me", "Secret": "secret"}' ;;
*) exit 1 ;;
esac
"""
CANNOT_LIST = "#!/bin/sh\necho not implemented\n[ $1 = list ]\n"


@pytest.mark.parametrize("config", [{"credsStore": "test"}, {"credHelpers": {"https://r.io/v1/": "test"}}])
def test_a_store_that_knows_the_registry_by_another_name(
    configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    """Where the helper has nothing under the host, it is asked what it has; one that cannot list has nothing."""
    configured(config)
    helper = tmp_path / "docker-credential-test"
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    found = {}
    for name, script in (("knows", KNOWS_AN_ADDRESS), ("cannot list", CANNOT_LIST)):
        helper.write_text(script)
        helper.chmod(0o755)
        found[name] = [find(registry, "team/model") for registry in ("r.io", "elsewhere.io")]

    assert found == {"knows": [Credentials(username="me", password="secret"), None], "cannot list": [None, None]}


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
