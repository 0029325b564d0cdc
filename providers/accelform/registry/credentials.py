"""Who one is for a registry, from where `docker login`, `podman login` and `az acr login` leave it.

`$DOCKER_CONFIG/config.json` or `~/.docker/config.json` (docker/cli, "config.json"), in this order: `credHelpers`,
`credsStore`, `auths`.
Nothing is written, and no secret is in a message or in a repr.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelform.errors import RegistryDenied

HELPER_TIMEOUT_SECONDS = 60
_DOCKER_HUB = "https://index.docker.io/v1/"
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


def config_path() -> Path:
    """Docker's configuration file, which need not exist."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def find(registry: str) -> Credentials | None:
    """What Docker's configuration has for `registry` (host[:port]), or None.

    Raises RegistryDenied where the file is damaged or a helper that it names cannot be run.
    """
    path = config_path()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RegistryDenied(
            f"cannot log in to {registry}: {path} cannot be read ({error.strerror}). Correct its owner or mode."
        ) from error
    try:
        config = json.loads(text)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise RegistryDenied(f"cannot log in to {registry}: {path} is not JSON. Run `docker login {registry}` again.")
    keys = _keys(registry)
    helpers, auths = (_map(config.get(name)) for name in ("credHelpers", "auths"))
    named = next((helpers[key] for key in keys if key in helpers), config.get("credsStore"))
    if isinstance(named, str) and named:
        for key in keys:
            if found := _from_helper(named, key, registry, path):
                return found
    for key in keys:
        if found := _from_entry(auths.get(key), registry, path):
            return found
    return None


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _keys(registry: str) -> tuple[str, ...]:
    """Under which names an entry for the registry may stand."""
    if registry in ("docker.io", "index.docker.io", "registry-1.docker.io"):
        return (_DOCKER_HUB, "docker.io", "index.docker.io", "registry-1.docker.io")
    return (registry, f"https://{registry}", f"http://{registry}", f"https://{registry}/v2/")


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


def _from_helper(name: str, key: str, registry: str, path: Path) -> Credentials | None:
    """What the program `docker-credential-<name>` has for `key`; a failing one is taken as having nothing."""
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise RegistryDenied(
            f"cannot log in to {registry}: {path} names the credential helper docker-credential-{name}, which is not "
            "on PATH. Install it, or remove it from the file and log in again."
        )
    try:
        answer = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=HELPER_TIMEOUT_SECONDS, check=False
        )
        document = json.loads(answer.stdout) if answer.returncode == 0 else None
    except (OSError, subprocess.TimeoutExpired, ValueError):
        raise RegistryDenied(
            f"cannot log in to {registry}: the credential helper {program} did not answer as it should. "
            f"Try `echo {key} | docker-credential-{name} get`."
        ) from None  # what it printed may hold the secret
    if not isinstance(document, dict) or not document.get("Secret"):
        return None
    if document.get("Username") == _TOKEN_USER:
        return Credentials(identity_token=str(document["Secret"]))
    return Credentials(username=str(document.get("Username") or ""), password=str(document["Secret"]))
