"""A server's HTTP side, asked as any client would ask it."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Answer:
    """Status, headers by lower-case name, and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read as JSON."""
        return json.loads(self.body)


class SideDoor:
    """HTTP to one port, with a key unless told otherwise."""

    def __init__(self, port: int, key: str = "", tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self._key = key
        self._tls = tls

    def ask(
        self, path: str, body: bytes | str | None = None, *, method: str = "", key: str | None = None, **headers: str
    ) -> Answer:
        """One request over a connection of its own; `x_timeout_ms="5"` is the header X-Timeout-Ms."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if shown := self._key if key is None else key:
            sent["Authorization"] = f"Bearer {shown}"
        connection = self._connect()
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def series(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """What Prometheus would read: name and labels to value."""
        answer = self.ask("/metrics")
        assert answer.status == 200, answer.body
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        """One series; 0 when it is not there."""
        return self.series().get((name, frozenset(labels.items())), 0.0)

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls:
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self._tls)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)


def side_door(
    service: Any, eventually: Callable[..., Any], key: str = "", tls: ssl.SSLContext | None = None
) -> SideDoor:
    """The HTTP side of a server that has logged its port."""
    lines = eventually(lambda: service.events("listening_http"), "the port of HTTP in the log")
    return SideDoor(int(lines[0]["port"]), key, tls)


def rows_of(*images: bytes) -> str:
    """A predict request in rows."""
    return json.dumps({"instances": [{"b64": base64.b64encode(image).decode()} for image in images]})
