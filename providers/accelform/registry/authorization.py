"""What a registry wants to know about who asks: its challenge, and the header that answers it.

Basic (RFC 7617) and Bearer with a token service (distribution's "token" specification): one token for each set of
scopes, with `GET` for a password and the OAuth2 `POST` for an identity token, as Azure's registries give.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from accelform.errors import RegistryDenied, RegistryUnreachable
from accelform.registry.credentials import Credentials
from accelform.registry.reference import is_loopback

CLIENT_ID = "accelform"
Scopes = frozenset[str]
"""Of tokens: "repository:<name>:<actions>"."""
_CHALLENGE = re.compile(r'([A-Za-z]+) +((?:[A-Za-z_]+="[^"]*"(?:, *)?)+)')
_PARAMETER = re.compile(r'([A-Za-z_]+)="([^"]*)"')


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """One way in that a registry offers: "basic" or "bearer", and its parameters."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(header: str) -> tuple[Challenge, ...]:
    """The offers in a Www-Authenticate header."""
    return tuple(
        Challenge(scheme=scheme.lower(), parameters=dict(_PARAMETER.findall(text)))
        for scheme, text in _CHALLENGE.findall(header)
    )


def scope(repository: str, *actions: str) -> str:
    """The scope for actions ("pull", "push", "delete") on a repository."""
    return f"repository:{repository}:{','.join(actions)}"


class Authorizer:
    """Answers one registry's challenges, and remembers what it answered. `send` makes a request that may fail.

    Threads may share it: one asks for a token, the others wait for that.
    """

    def __init__(
        self, registry: str, *, find: Callable[[str], Credentials | None], send: Callable[..., requests.Response]
    ) -> None:
        self._registry = registry
        self._find = find
        self._send = send
        self._credentials: dict[str, Credentials | None] = {}
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, Scopes], str] = {}
        self._lock = threading.RLock()

    def credentials(self, repository: str) -> Credentials | None:
        """Those for a repository, looked up once, when they are first needed."""
        with self._lock:
            if repository not in self._credentials:
                self._credentials[repository] = self._find(repository)
            return self._credentials[repository]

    def header(self, scopes: Scopes, repository: str, *, renew: bool = False) -> str:
        """What to send with a request; empty as long as the registry has not asked. `renew` gets another token."""
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "basic":
            found = self.credentials(repository)
            return found.basic if found else ""
        with self._lock:
            if renew or (repository, scopes) not in self._tokens:
                self._tokens[repository, scopes] = self._token(scopes, repository)
            return f"Bearer {self._tokens[repository, scopes]}"

    def challenged(self, header: str, scopes: Scopes, repository: str) -> Scopes | None:
        """Takes a challenge in; the scopes to try again with, or None where nothing of it can be answered."""
        offered = {challenge.scheme: challenge for challenge in challenges(header)}
        if bearer := offered.get("bearer"):
            self._challenge = bearer
            # What a mount needs is named together; a token service wants each by itself.
            return scopes | frozenset(bearer.parameters.get("scope", "").split())
        if "basic" in offered and (found := self.credentials(repository)):
            if not found.password:
                raise RegistryDenied(
                    f"cannot log in to {self._registry}: it wants a user and a password, and only a token is stored. "
                    f"Run `docker login {self._registry}`."
                )
            self._challenge = offered["basic"]
            return scopes
        return None

    def _token(self, scopes: Scopes, repository: str) -> str:
        assert self._challenge is not None
        parameters = self._challenge.parameters
        realm, service = parameters.get("realm", ""), parameters.get("service", "")
        place = urlsplit(realm)
        if place.scheme != "https" and not (place.scheme == "http" and is_loopback(place.netloc)):
            raise RegistryDenied(
                f"cannot log in to {self._registry}: its token service is {realm[:200]!r}, where credentials could be "
                "read on the way. Ask whoever runs the registry for one with https."
            )
        found = self.credentials(repository)
        if found is not None and found.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "client_id": CLIENT_ID,
                "scope": " ".join(sorted(scopes)),
                "refresh_token": found.identity_token,
            }
            # The token is in the body, which a redirect would carry to another host.
            answer = self._send("POST", realm, body=form, allow_redirects=False)
        else:
            query = [*([("service", service)] if service else []), *(("scope", entry) for entry in sorted(scopes))]
            headers = {"Authorization": found.basic} if found else {}
            answer = self._send("GET", realm, params=query, headers=headers)
        if answer.status_code in (429, *range(500, 600)):
            raise RegistryUnreachable(
                f"cannot log in to {self._registry}: its token service answered {answer.status_code}. "
                "Run the same command again later."
            )
        token = _token_in(answer)
        if not token:
            why = denied_message(self._registry, found is None, "its token service says no")
            raise RegistryDenied(f"cannot log in to {self._registry}: {why}")
        return token


def denied_message(registry: str, is_anonymous: bool, why: str) -> str:
    """What to tell whoever is refused."""
    if is_anonymous:
        return f"{why}, and there are no credentials for {registry}. Run `docker login {registry}`."
    return (
        f"{why} with the credentials that Docker's configuration has for {registry}. "
        f"Run `docker login {registry}` again, or ask for the right to do this."
    )


def _token_in(answer: requests.Response) -> str:
    if answer.status_code != 200:
        return ""
    try:
        document = answer.json()
    except ValueError:
        return ""
    return str(document.get("token") or document.get("access_token") or "") if isinstance(document, dict) else ""
