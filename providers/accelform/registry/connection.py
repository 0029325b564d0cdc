"""A connection to one registry: TLS, credentials, time limits, retries, and errors that say what to do."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

from accelform._base.progress import Progress, silent
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
PATIENCE_SECONDS = 300.0
"""For how long a host may put off everything that is asked of it."""
_MAX_REASON = 300
_TRY_AGAIN = (408, 429, 500, 502, 503, 504)
_LATER = (429, 503)
"""What may come with Retry-After (RFC 9110, RFC 6585)."""
_TOO_LARGE = 413
_SPEAKS_TLS = "HTTP request to an HTTPS server"
Body = bytes | Mapping[str, str] | Callable[[], Any] | None
"""A mapping is a form; a callable gives the body anew for each try."""


class Connection:
    """Requests to one registry. Plain HTTP goes to this machine only, and not there where a CA is given.

    `ca_file` holds the PEM certificates of a private authority, trusted beside the public ones; empty: only those.
    With `brief` it does not wait for a registry that is slow or away; otherwise `progress` hears of long waits. Threads
    may share it. Holds open sockets: close it, or use it as a context manager.
    """

    largest_body_bytes: int | None = None
    """What a request may hold, once a larger one was refused."""

    def __init__(self, registry: str, *, ca_file: str = "", brief: bool = False, progress: Progress = silent) -> None:
        self.registry = registry
        self._seconds = (BRIEF_SECONDS, BRIEF_SECONDS) if brief else (CONNECT_SECONDS, ANSWER_SECONDS)
        self._tries = 1 if brief else len(PAUSES_SECONDS) + 1
        self._patience_seconds = 0.0 if brief else PATIENCE_SECONDS
        self._progress = progress
        self._given_up = threading.Event()
        self._closed_until: dict[str, float] = {}
        self._closed_since: dict[str, float] = {}
        self._session = _Session()
        self._session.auth = lambda request: request  # else requests would send what ~/.netrc has for the host
        self._session.headers["User-Agent"] = "accelform"
        self._is_plain = is_loopback(registry) and not ca_file
        if is_loopback(registry):
            self._session.trust_env = False  # a proxy does not reach this machine's own addresses
        if ca_file:
            self._session.mount("https://", _AlsoTrusting(_context(registry, ca_file)))
        self._authorizer = Authorizer(
            registry, find=lambda repository: credentials.find(registry, repository), send=self._send
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        self._session.close()

    def give_up(self) -> None:
        """Has the other threads end where they wait or send: what they do is not wanted any more."""
        self._given_up.set()

    def check(self) -> None:
        """Raises RegistryUnreachable after `give_up`."""
        if self._given_up.is_set():
            raise RegistryUnreachable(f"what was asked of {self.registry} was given up. Run the same command again.")

    def pause(self, seconds: float) -> None:
        """Waits. Raises as `check` does."""
        self._given_up.wait(seconds)
        self.check()

    def request(
        self,
        method: str,
        path: str,
        *,
        action: str,
        scopes: Scopes,
        good: tuple[int, ...],
        repository: str = "",
        headers: Mapping[str, str] | None = None,
        body: Body = None,
        stream: bool = False,
        tries: int | None = None,
    ) -> requests.Response:
        """One answer with a status in `good`; `path` is below the registry or a whole address that it gave.

        `action` ("push digits to host/team") starts messages; credentials are those for `repository`. Raises
        RegistryUnreachable, RegistryDenied, RegistryUntrusted, RegistryRefused.
        """

        def ask() -> requests.Response:
            return self._authorized(method, path, action, scopes, repository, headers or {}, body, stream)

        return self._tried(ask, action, good, tries or self._tries, repository)

    def ping(self) -> None:
        """Whether anything there speaks the registry's protocol; settles how this machine's own registry is spoken to.

        Raises as `request` does.
        """
        action = f"reach the registry {self.registry}"

        def ask() -> requests.Response:
            answer = self._send("GET", self._address("/v2/"), action=action)
            if self._is_plain and answer.status_code == 400 and _SPEAKS_TLS in answer.text:
                self._is_plain = False
                answer = self._send("GET", self._address("/v2/"), action=action)
            return answer

        self._tried(ask, action, good=(200, 401), tries=self._tries)

    def _tried(
        self,
        ask: Callable[[], requests.Response],
        action: str,
        good: tuple[int, ...],
        tries: int,
        repository: str = "",
    ) -> requests.Response:
        """The first good answer; pauses between tries."""
        for number in range(tries):
            is_last = number == tries - 1
            try:
                answer = ask()
            except RegistryUnreachable:
                if is_last:
                    raise
                self.pause(PAUSES_SECONDS[number])
                continue
            if answer.status_code in good:
                return answer
            if answer.status_code not in _TRY_AGAIN or is_last or _asked_seconds(answer):
                raise self._error(action, answer, repository)
            answer.close()
            self.pause(PAUSES_SECONDS[number])
        raise AssertionError("the last try returns or raises")

    def _authorized(
        self,
        method: str,
        path: str,
        action: str,
        scopes: Scopes,
        repository: str,
        headers: Mapping[str, str],
        body: Body,
        stream: bool,
    ) -> requests.Response:
        """One answer, after the registry was told who asks if it wants to know."""
        address = self._address(path)
        is_own = self._is_own(address)
        renew = False
        while True:
            known = self._authorizer.header(scopes, repository, renew=renew) if is_own else ""
            given = {**headers, **({"Authorization": known} if known else {})}
            answer = self._send(method, address, action=action, headers=given, body=body, stream=stream)
            if answer.status_code != 401 or not self._is_own(answer.url):
                return answer
            wanted = self._authorizer.challenged(answer.headers.get("Www-Authenticate", ""), scopes, repository)
            if wanted is None or (renew and wanted == scopes):
                return answer
            answer.close()
            scopes, renew = wanted, True

    def _send(
        self, method: str, address: str, *, action: str = "", body: Body = None, **arguments: Any
    ) -> requests.Response:
        """One answer; what is told to come again later does, and nothing else goes to that host before."""
        host = urlsplit(address).netloc
        while True:
            while (rest := self._closed_until.get(host, 0.0) - time.monotonic()) > 0:
                self.pause(rest)
            self.check()
            content = body() if callable(body) else body
            with self.mapped(action or f"reach {self.registry}"):
                answer = self._session.request(method, address, timeout=self._seconds, data=content, **arguments)
            seconds, now = _asked_seconds(answer), time.monotonic()
            if not seconds:
                self._closed_since.pop(host, None)
                return answer
            if now + seconds - self._closed_since.setdefault(host, now) > self._patience_seconds:
                return answer
            answer.close()
            self._closed_until[host] = max(self._closed_until.get(host, 0.0), now + seconds)
            self._progress(f"{host} answered {answer.status_code} and asks to wait {seconds:.0f} s")

    def _is_own(self, address: str) -> bool:
        """Whether the address is the registry's, which may see its credentials; not one that it refers to."""
        return _origin(address) == _origin(self._address("/"))

    @contextlib.contextmanager
    def mapped(self, action: str) -> Iterator[None]:
        """Run the block; what requests raises leaves as one of the registry's errors."""
        try:
            yield
        except _InClear as error:
            raise RegistryRefused(
                f"cannot {action}: the registry {self.registry} sends on to {error}, where it could be read on the "
                "way. Ask whoever runs it to have it give https addresses (behind a proxy, relative ones)."
            ) from None
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

    def _error(self, action: str, answer: requests.Response, repository: str) -> Exception:
        with contextlib.suppress(requests.exceptions.RequestException):
            answer.content  # noqa: B018 - so that the connection can be used again
        status, reason = answer.status_code, problem(answer)
        if status in (401, 403):
            is_anonymous = self._authorizer.credentials(repository) is None
            told = denied_message(self.registry, is_anonymous, f"it says {reason}")
            return RegistryDenied(f"cannot {action}: {told}")
        if seconds := _asked_seconds(answer):
            return RegistryUnreachable(
                f"cannot {action}: the registry {self.registry} answered {status} ({reason}) and takes more in "
                f"{seconds:.0f} s only. Run the same command again then."
            )
        if status in _TRY_AGAIN:
            return RegistryUnreachable(
                f"cannot {action}: the registry {self.registry} answered {status} ({reason}) several times. "
                "Run the same command again later."
            )
        if status == _TOO_LARGE:
            return BodyTooLarge(
                f"cannot {action}: {self.registry} answered {status} ({reason}). Something in front of the registry "
                "limits how much one request may hold; have that raised (nginx: client_max_body_size).",
                size_bytes=int(answer.request.headers.get("Content-Length") or 0),
            )
        return RegistryRefused(f"cannot {action}: the registry {self.registry} answered {status}, {reason}.")


class BodyTooLarge(RegistryRefused):
    """A request's body of `size_bytes` is more than something on the way takes."""

    def __init__(self, message: str, *, size_bytes: int) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


class _InClear(requests.exceptions.RequestException):
    """What would go to another machine without TLS."""


class _Session(requests.Session):
    """Follows redirects as a registry's client must: no credentials of another host, no body over plain HTTP."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Takes the registry's credentials off for another host, and never looks into ~/.netrc for some of that."""
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)

    def rebuild_method(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """A POST stays one, as it starts an upload where it is sent to."""
        if prepared_request.method != "POST":
            super().rebuild_method(prepared_request, response)

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        """Each step of a redirect comes through here; what is only read is known by its digest."""
        place = urlsplit(str(request.url))
        is_read = request.method in ("GET", "HEAD")
        if place.scheme != "https" and not is_read and not is_loopback(place.netloc):
            raise _InClear(f"{place.scheme}://{place.netloc}")
        return super().send(request, **more)


@contextlib.contextmanager
def connected(registry: str, *, ca_file: str, brief: bool = False, progress: Progress = silent) -> Iterator[Connection]:
    """A connection to the registry. Raises as `Connection.ping` does."""
    with Connection(registry, ca_file=ca_file, brief=brief, progress=progress) as connection:
        connection.ping()
        yield connection


@contextlib.contextmanager
def connected_beside(
    near: Connection, registry: str, *, ca_file: str, progress: Progress = silent
) -> Iterator[Connection]:
    """`near` itself where it leads to that registry, else a connection of its own."""
    if registry == near.registry:
        yield near
        return
    with connected(registry, ca_file=ca_file, progress=progress) as far:
        yield far


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


def _asked_seconds(answer: requests.Response) -> float:
    """For how long an answer tells to wait, by Retry-After in seconds or as a date; 0 where it does not."""
    given = answer.headers.get("Retry-After", "")
    if answer.status_code not in _LATER or not given:
        return 0.0
    try:
        return float(Retry().parse_retry_after(given))
    except InvalidHeader:
        return 0.0


def _origin(address: str) -> tuple[str, str | None, int | None]:
    place = urlsplit(address)
    return place.scheme, place.hostname, place.port or {"https": 443, "http": 80}.get(place.scheme)


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
