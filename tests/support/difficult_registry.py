"""What stands between a registry and its users on the way: passes requests on, and does to some what it is told to.

The registry behind it is a real one; what goes wrong is what hosted registries and the proxies in front of them do.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_OF_ONE_CONNECTION = ("connection", "transfer-encoding", "content-length", "date", "server")


@dataclass(kw_only=True)
class Trouble:
    """What becomes of requests of `method` (one, or several as a regular expression) whose path has `path` in it.

    They are answered with `status` and `headers`, in which {path} is the request's; 0: the connection is cut off. With
    `is_done` the registry gets them all the same before. After `times` of them it is over.
    """

    method: str
    path: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    is_done: bool = False
    times: float = math.inf

    def fits(self, method: str, path: str) -> bool:
        is_meant = re.fullmatch(self.method, method) is not None and re.search(self.path, path) is not None
        return is_meant and self.times > 0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that came: `was_early` where it was told to come later."""

    method: str
    path: str
    authorization: str
    size_bytes: int
    was_early: bool


@dataclass(kw_only=True)
class Front:
    """In front of the registry at `target` on 127.0.0.1; `largest_body_bytes` is what it takes in one request.

    Of what is larger it reads all before it refuses, or nothing, and then ends the connection.
    """

    target: int
    port: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    largest_body_bytes: float = math.inf
    reads_what_it_refuses: bool = True
    gives_relative_locations: bool = False
    asked: list[Asked] = field(default_factory=list)
    closed_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def methods(self, path: str) -> list[str]:
        """Of the requests so far whose path has `path` in it."""
        return [request.method for request in self.asked if re.search(path, request.path)]

    def put_off(self, seconds: int, *, as_a_date: bool = False, **which: Any) -> None:
        """One request is told to come again in `seconds`, and so is everything until then."""
        later = email.utils.formatdate(math.ceil(time.time()) + seconds, usegmt=True) if as_a_date else str(seconds)
        self.troubles.append(Trouble(status=429, headers={"Retry-After": later}, times=1, **which))

    def trouble_of(self, method: str, path: str) -> Trouble | None:
        with self.lock:
            found = next((trouble for trouble in self.troubles if trouble.fits(method, path)), None)
            if found is not None:
                found.times -= 1
            return found


@contextlib.contextmanager
def front(target: int, **settings: bool) -> Iterator[Front]:
    """Put one in front of the port `target`."""
    made = Front(target=target, **settings)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            size_bytes = int(self.headers.get("Content-Length") or 0)
            is_too_large = size_bytes > made.largest_body_bytes
            body = self.rfile.read(0 if is_too_large and not made.reads_what_it_refuses else size_bytes)
            trouble = made.trouble_of(self.command, self.path)
            with made.lock:
                was_early = time.monotonic() < made.closed_until
                told = self.headers.get("Authorization", "")
                made.asked.append(
                    Asked(
                        method=self.command,
                        path=self.path,
                        authorization=told,
                        size_bytes=size_bytes,
                        was_early=was_early,
                    )
                )
            if is_too_large:
                self.close_connection = not made.reads_what_it_refuses
                self.answer(413, {}, b"")
            elif trouble is None:
                self.answer(*self.passed_on(body))
            else:
                if trouble.is_done:
                    self.passed_on(body)
                self.make(trouble)

        def make(self, trouble: Trouble) -> None:
            if not trouble.status:
                self.close_connection = True
                return
            headers = {name: value.format(path=self.path) for name, value in trouble.headers.items()}
            if later := headers.get("Retry-After"):
                seconds = float(later) if later.isdecimal() else _until(later)
                made.closed_until = time.monotonic() + seconds
            self.answer(trouble.status, headers, b"")

        def passed_on(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            registry = http.client.HTTPConnection("127.0.0.1", made.target, timeout=60)
            try:
                registry.request(self.command, self.path, body=body or None, headers=dict(self.headers))
                answer = registry.getresponse()
                headers = {k: v for k, v in answer.getheaders() if k.lower() not in _OF_ONE_CONNECTION}
                size = answer.headers.get("Content-Length", "")
                content = answer.read()
            finally:
                registry.close()
            if made.gives_relative_locations and "Location" in headers:
                headers["Location"] = headers["Location"].removeprefix(f"http://{made.host}")
            if self.command == "HEAD" and size:
                headers["Content-Length"] = size
            return answer.status, headers, content

        def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_one)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    made.port = server.server_port
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def _until(date: str) -> float:
    """Seconds; a little less, as who asks reads another clock."""
    return email.utils.parsedate_to_datetime(date).timestamp() - time.time() - 0.1
