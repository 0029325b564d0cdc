"""Names of images: `HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]`, by the distribution specification's grammar."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from accelform.errors import ReferenceInvalid

MAX_CHARACTERS = 512
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = rf"{_PART}(?:/{_PART})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    rf"(?P<registry>{_HOST})/(?P<repository>{_REPOSITORY})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?"
)
_PREFIX = re.compile(rf"(?P<registry>{_HOST})(?:/(?P<repository>{_REPOSITORY}))?")
# Docker's own short names say docker.io, its API answers elsewhere (distribution/reference).
_API_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One image in one registry; `tag` and `digest` are empty where they are not given."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"

    @property
    def name(self) -> str:
        """What its manifest is asked for by: the digest where there is one, as that cannot change."""
        return self.digest or self.tag


def parse(text: str, *, what: str = "image reference") -> Reference:
    """Take a reference apart. Raises ReferenceInvalid, also where the registry is left out: none is assumed here."""
    found = _REFERENCE.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is None or not _names_a_host(found["registry"]):
        raise ReferenceInvalid(
            f"cannot use {text[:200]!r} as {what}: it must read HOST[:PORT]/NAME[:TAG][@sha256:<64 hex digits>] with a "
            "name in lower case, such as registry.example.com/team/base@sha256:…. Write the registry's host too."
        )
    return Reference(
        registry=found["registry"],
        repository=found["repository"],
        tag=found["tag"] or "",
        digest=found["digest"] or "",
    )


def parse_pinned(text: str, *, what: str) -> Reference:
    """Take a reference by digest apart. Raises ReferenceInvalid where it names no digest."""
    reference = parse(text, what=what)
    if not reference.digest:
        raise ReferenceInvalid(
            f"cannot use {text!r} as {what}: it names no digest, so what it means can change. "
            "Add @sha256:…, which `accelform base-image build` and every registry tell."
        )
    return reference


def split_prefix(text: str) -> tuple[str, str]:
    """`registry.example.com/team` as host and path; the path may be empty. Raises ReferenceInvalid."""
    found = _PREFIX.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is None or not _names_a_host(found["registry"]):
        raise ReferenceInvalid(
            f"cannot use {text[:200]!r} as a registry: it must read HOST[:PORT][/PATH] with a path in lower case and "
            "without https://, such as registry.example.com/team"
        )
    return found["registry"], found["repository"] or ""


def api_host(registry: str) -> str:
    """Where the registry's API answers."""
    return _API_HOSTS.get(registry, registry)


def is_loopback(registry: str) -> bool:
    """Whether the registry is on this very machine, where what is sent crosses no network."""
    host = registry.rsplit(":", 1)[0] if not registry.endswith("]") else registry
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _names_a_host(registry: str) -> bool:
    """Docker's rule for telling a host from the first part of a path."""
    return any(sign in registry for sign in ".:[") or registry == "localhost"
