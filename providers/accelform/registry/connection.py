"""A connection to one registry: TLS, credentials, time limits, retries, and errors that say what to do."""

from __future__ import annotations

import contextlib
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from accelform.errors import RegistryDenied, RegistryRefused, RegistryUnreachable, RegistryUntrusted
from accelform.registry import credentials
from accelform.registry.authorization import Authorizer, Scopes, denied_message
from accelform.registry.reference import api_host, is_loopback

CONNECT_SECONDS, ANSWER_SECONDS = 10, 120
"""Longest waits: for the connection, and for the next byte of an answer; a large blob is checked before that."""
BRIEF_SECONDS = 2
"""For who only asks in passing, as a preview does: one try, and for each of its waits as long."""
PAUSES_SECONDS = (0.5, 1.0, 2.0)
"""Before each further try."""
LONGEST_PAUSE_SECONDS = 30.0
_MAX_REASON = 300
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_SPEAKS_TLS = "HTTP request to an HTTPS server"
Body = bytes | Callable[[], Any] | None
"""A callable gives the body anew for each try."""


class Connection:
    """Requests to one registry. Plain HTTP goes to this machine only, and not there where a CA is given.

    `ca_file` holds the PEM certificates of a private authority, trusted beside the public ones; empty: only those.
    With `brief` it does not wait for a registry that is slow or away. Holds open sockets: close it, or use it as a
    context manager.
    """

    def __init__(self, registry: str, *, ca_file: str = "", brief: bool = False) -> None:
        self.registry = registry
        self._seconds = (BRIEF_SECONDS, BRIEF_SECONDS) if brief else (CONNECT_SECONDS, ANSWER_SECONDS)
        self._tries = 1 if brief else len(PAUSES_SECONDS) + 1
        self._session = requests.Session()
        self._session.auth = lambda request: request  # else requests would send what ~/.netrc has for the host
        self._session.headers["User-Agent"] = "accelform"
        self._is_plain = is_loopback(registry) and not ca_file
        if is_loopback(registry):
            self._session.trust_env = False  # a proxy does not reach this machine's own addresses
        if ca_file:
            self._session.mount("https://", _AlsoTrusting(_context(registry, ca_file)))
        self._authorizer = Authorizer(registry, find=lambda: credentials.find(registry), send=self._send_once)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        self._session.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        action: str,
        scopes: Scopes,
        good: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        stream: bool = False,
        tries: int | None = None,
    ) -> requests.Response:
        """One answer with a status in `good`; `path` is below the registry or a whole address that it gave.

        `action` ("push digits to host/team") starts messages. Raises RegistryUnreachable, RegistryDenied,
        RegistryUntrusted, RegistryRefused.
        """

        def ask() -> requests.Response:
            return self._authorized(method, path, action, scopes, headers or {}, body, stream)

        return self._tried(ask, action, good, tries or self._tries)

    def ping(self) -> None:
        """Whether anything there speaks the registry's protocol; settles how this machine's own registry is spoken to.

        Raises as `request` does.
        """
        action = f"reach the registry {self.registry}"

        def ask() -> requests.Response:
            answer = self._send_once("GET", self._address("/v2/"), action=action)
            if self._is_plain and answer.status_code == 400 and _SPEAKS_TLS in answer.text:
                self._is_plain = False
                answer = self._send_once("GET", self._address("/v2/"), action=action)
            return answer

        self._tried(ask, action, good=(200, 401), tries=self._tries)

    def _tried(
        self, ask: Callable[[], requests.Response], action: str, good: tuple[int, ...], tries: int
    ) -> requests.Response:
        """The first good answer; pauses between tries."""
        for number in range(tries):
            is_last = number == tries - 1
            try:
                answer = ask()
            except RegistryUnreachable:
                if is_last:
                    raise
                time.sleep(PAUSES_SECONDS[number])
                continue
            if answer.status_code in good:
                return answer
            if answer.status_code not in _TRY_AGAIN or is_last:
                raise self._error(action, answer)
            answer.close()
            time.sleep(_pause(answer, PAUSES_SECONDS[number]))
        raise AssertionError("the last try returns or raises")

    def _authorized(
        self,
        method: str,
        path: str,
        action: str,
        scopes: Scopes,
        headers: Mapping[str, str],
        body: Body,
        stream: bool,
    ) -> requests.Response:
        """One answer, after the registry was told who asks if it wants to know."""
        address = self._address(path)
        is_own = urlsplit(address)[:2] == urlsplit(self._address("/"))[:2]
        renew = False
        while True:
            known = self._authorizer.header(scopes, renew=renew) if is_own else ""
            given = {**headers, **({"Authorization": known} if known else {})}
            content = body() if callable(body) else body
            answer = self._send_once(method, address, action=action, headers=given, data=content, stream=stream)
            if answer.status_code != 401 or not is_own:
                return answer
            wanted = self._authorizer.challenged(answer.headers.get("Www-Authenticate", ""), scopes)
            if wanted is None or (renew and wanted == scopes):
                return answer
            answer.close()
            scopes, renew = wanted, True

    def _send_once(self, method: str, address: str, *, action: str = "", **arguments: Any) -> requests.Response:
        what = action or f"reach {self.registry}"
        with self.mapped(what):
            return self._session.request(method, address, timeout=self._seconds, **arguments)

    @contextlib.contextmanager
    def mapped(self, action: str) -> Iterator[None]:
        """Run the block; what requests raises leaves as one of the registry's errors."""
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise self._untrusted(action, error) from None
        except requests.exceptions.RequestException as error:
            raise RegistryUnreachable(
                f"cannot {action}: the registry {self.registry} did not answer or broke off ({_innermost(error)}). "
                "Check that it runs and is reached from here, then run the same command again."
            ) from None

    def _address(self, path: str) -> str:
        scheme = "http" if self._is_plain else "https"
        return urljoin(f"{scheme}://{api_host(self.registry)}/", path)

    def _untrusted(self, action: str, error: Exception) -> Exception:
        text = _innermost(error)
        if "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
            return RegistryUntrusted(
                f"cannot {action}: the certificate of {self.registry} is not trusted ({text}). "
                "Give its authority's certificate as registry_ca_file, or correct the host's name."
            )
        return RegistryUnreachable(
            f"cannot {action}: no TLS connection with {self.registry} ({text}). Is it a registry with https?"
        )

    def _error(self, action: str, answer: requests.Response) -> Exception:
        with contextlib.suppress(requests.exceptions.RequestException):
            answer.content  # noqa: B018 - so that the connection can be used again
        status, reason = answer.status_code, problem(answer)
        if status in (401, 403):
            told = denied_message(self.registry, self._authorizer.is_anonymous, f"it says {reason}")
            return RegistryDenied(f"cannot {action}: {told}")
        if status in _TRY_AGAIN or status >= 500:
            return RegistryUnreachable(
                f"cannot {action}: the registry {self.registry} answered {status} ({reason}) several times. "
                "Run the same command again later."
            )
        return RegistryRefused(f"cannot {action}: the registry {self.registry} answered {status}, {reason}.")


class _AlsoTrusting(HTTPAdapter):
    """Sends requests over connections with a context of one's own, to which requests adds the public authorities."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, **more, ssl_context=self._context)


def _context(registry: str, ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # an SSLError is one
        raise RegistryUntrusted(
            f"cannot connect to {registry}: {ca_file} is no file with an authority's certificates in PEM ({error}). "
            "Correct registry_ca_file."
        ) from None
    return context


def problem(answer: requests.Response) -> str:
    """What a registry says is wrong: its error codes and messages, on one line."""
    try:
        rows = answer.json()["errors"]
        text = "; ".join(f"{row.get('code', '')} {row.get('message', '')}".strip() for row in rows)
    except (ValueError, LookupError, TypeError, AttributeError, requests.exceptions.RequestException):
        text = answer.reason or ""
    printable = "".join(sign if sign.isprintable() else " " for sign in text)[:_MAX_REASON]
    return printable.rstrip(". ") or "no reason given"


def _pause(answer: requests.Response, otherwise: float) -> float:
    given = answer.headers.get("Retry-After", "")
    return min(float(given), LONGEST_PAUSE_SECONDS) if given.isdecimal() else otherwise


def _innermost(error: BaseException) -> str:
    """The cause under requests' and urllib3's wrapping, on one line."""
    while inner := getattr(error, "reason", None) or next(
        (argument for argument in error.args if isinstance(argument, BaseException)), None
    ):
        if not isinstance(inner, BaseException):
            break
        error = inner
    text = str(error.args[-1] if len(error.args) > 1 else error) or type(error).__name__
    return text.splitlines()[0][:_MAX_REASON].rstrip(". ")
