"""Who one is for a registry, from where `docker login`, `podman login` and `az acr login` leave it.

The first of these files that has something for the registry: `$REGISTRY_AUTH_FILE`, which stands alone where it is set
(containers/image, containers-auth.json(5)); `$DOCKER_CONFIG/config.json`; `$XDG_RUNTIME_DIR/containers/auth.json`, or
`/run/containers/<user id>/auth.json` without that variable; `$XDG_CONFIG_HOME/containers/auth.json`, by default below
`~/.config`; `~/.docker/config.json` (docker/cli, "config.json"). In each, in this order: `credHelpers`, `credsStore`,
`auths`.

An entry's name may be a host, as docker writes it also with a scheme, a port that goes without saying and `/v1/` or
`/v2/`; or, as podman has it, a repository or a part of its path below the host. The longest that fits is taken.
Nothing is written, and no secret is in a message or in a repr.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelform.errors import RegistryDenied

HELPER_TIMEOUT_SECONDS = 60
_DOCKER_HUB = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = ("docker.io", "index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"
"""How a helper marks an identity token (docker/docker-credential-helpers)."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A user with a password, or an identity token that the registry's token service takes instead."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def config_paths() -> tuple[Path, ...]:
    """The files to look into, in this order; none of them need exist."""
    environment = os.environ
    if named := environment.get("REGISTRY_AUTH_FILE"):
        return (Path(named),)
    home = Path(environment.get("HOME") or "~").expanduser()
    runtime = environment.get("XDG_RUNTIME_DIR")
    docker = environment.get("DOCKER_CONFIG")
    return (
        *((Path(docker, "config.json"),) if docker else ()),
        Path(runtime, "containers/auth.json") if runtime else Path(f"/run/containers/{os.getuid()}/auth.json"),
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "containers/auth.json"),
        *(() if docker else (home / ".docker" / "config.json",)),
    )


def find(registry: str, repository: str = "") -> Credentials | None:
    """What the first file that knows `registry` (host[:port]), or `repository` in it, has for that, or None.

    Raises RegistryDenied where a file is damaged or a helper that it names cannot be run.
    """
    return next(filter(None, (_find_in(path, registry, repository) for path in config_paths())), None)


def _find_in(path: Path, registry: str, repository: str) -> Credentials | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise RegistryDenied(
            f"cannot log in to {registry}: {path} cannot be read ({reason}). Correct its owner or mode."
        ) from error
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise RegistryDenied(
            f"cannot log in to {registry}: {path} is not JSON. Run `docker login {registry}` again, or podman's."
        )
    helpers, auths = (_map(config.get(name)) for name in ("credHelpers", "auths"))
    host = _place(registry)
    named = next((helpers[key] for key in _fitting(helpers, host)), config.get("credsStore"))
    if isinstance(named, str) and named and (found := _from_store(named, registry, path)):
        return found
    for key in _fitting(auths, f"{host}/{repository}" if repository else host):
        if found := _from_entry(auths[key], registry, path):
            return found
    return None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _fitting(names: Iterable[str], place: str) -> list[str]:
    """Those of `names` that mean `place` or something above it: the longest first, then those written as it is."""
    found = [(name, _place(name)) for name in names]
    fitting = [(name, meant) for name, meant in found if f"{place}/".startswith(f"{meant}/")]
    return [name for name, meant in sorted(fitting, key=lambda pair: (-len(pair[1]), pair[0] != pair[1]))]


def _place(name: str) -> str:
    """The host, and the path where that is a repository's, which an entry's name means."""
    scheme, separator, rest = name.rpartition("://")
    host, _, path = rest.rstrip("/").partition("/")
    host = host.removesuffix(":80" if scheme == "http" else ":443")
    host = "docker.io" if host in _DOCKER_HUB_HOSTS else host
    is_address = bool(separator) or path in ("v1", "v2")
    return f"{host}/{path}" if path and not is_address else host


def _from_entry(entry: Any, registry: str, path: Path) -> Credentials | None:
    if not isinstance(entry, dict):
        return None
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            username, separator, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            separator = ""
        if not separator:
            raise RegistryDenied(
                f"cannot log in to {registry}: its entry in {path} is damaged. Run `docker login {registry}` again."
            ) from None
    if token := entry.get("identitytoken"):
        return Credentials(username=username, identity_token=str(token))
    return Credentials(username=username, password=password) if username else None


def _from_store(name: str, registry: str, path: Path) -> Credentials | None:
    """What the program `docker-credential-<name>` has for the registry, under its own or another of its names."""
    place = _place(registry)
    usual = _DOCKER_HUB if place == "docker.io" else registry
    if found := _credentials_in(_ask_helper(name, "get", usual, registry, path)):
        return found
    listed = _ask_helper(name, "list", "", registry, path) or {}
    others = [key for key in _fitting(listed, place) if key != usual]
    return next(filter(None, (_credentials_in(_ask_helper(name, "get", key, registry, path)) for key in others)), None)


def _credentials_in(document: Mapping[str, Any] | None) -> Credentials | None:
    if not document or not document.get("Secret"):
        return None
    if document.get("Username") == _TOKEN_USER:
        return Credentials(identity_token=str(document["Secret"]))
    return Credentials(username=str(document.get("Username") or ""), password=str(document["Secret"]))


def _ask_helper(name: str, action: str, key: str, registry: str, path: Path) -> dict[str, Any] | None:
    """What the helper answers; None from one that fails, which is taken as having nothing, or that cannot list."""
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise RegistryDenied(
            f"cannot log in to {registry}: {path} names the credential helper docker-credential-{name}, which is not "
            "on PATH. Install it, or remove it from the file and log in again."
        )
    try:
        answer = subprocess.run(
            [program, action], input=key, capture_output=True, text=True, timeout=HELPER_TIMEOUT_SECONDS, check=False
        )
        document = json.loads(answer.stdout) if answer.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        if action == "list":
            return None
        raise RegistryDenied(
            f"cannot log in to {registry}: the credential helper {program} did not answer as it should. "
            f"Try `echo {key} | docker-credential-{name} {action}`."
        ) from None  # what it printed may hold the secret
    return document if isinstance(document, dict) else None
