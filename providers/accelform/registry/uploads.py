"""Sending a blob: mounted where it can be, else in one request or in parts, and taken up again where it broke.

distribution-spec 1.1, "Pushing blobs". A blob of more than one part goes in `PATCH` requests, so that a broken
connection costs a part and not the blob. A registry that takes no parts (the specification has them, some hosted ones
do not) gets it in one request.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from accelform.errors import RegistryUnreachable
from accelform.registry.authorization import Scopes, scope
from accelform.registry.blobs import READ_BYTES, Blob, Part
from accelform.registry.connection import PAUSES_SECONDS, Connection

PART_BYTES = 32 << 20
MEGABYTE = 1_000_000
TELL_FROM_BYTES = 8 * MEGABYTE
_TELL_EVERY_SECONDS = 2.0
RESTARTS = 3
_NO_PARTS = (400, 404, 405, 416)
"""How registries answer a part that they do not take; what else is wrong shows again with the whole blob."""
_BINARY = {"Content-Type": "application/octet-stream"}
Progress = Callable[[str], None]


def mount(connection: Connection, repository: str, digest: str, source: str) -> bool:
    """See Repository.mount. A registry that starts an upload instead is told that there is none."""
    scopes = frozenset({scope(repository, "pull", "push"), scope(source, "pull")})
    action = f"mount {digest} from {source} in {connection.registry}/{repository}"
    answer = connection.request(
        "POST",
        f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}",
        action=action,
        scopes=scopes,
        good=(201, 202, 404),
    )
    if answer.status_code == 202 and (location := answer.headers.get("Location")):
        connection.request("DELETE", location, action=action, scopes=scopes, good=tuple(range(200, 500)), tries=1)
    return answer.status_code == 201


def upload(connection: Connection, repository: str, blob: Blob, *, progress: Progress, what: str) -> None:
    """Send the blob. Raises RegistryUnreachable when it broke too often, RegistryRefused, RegistryDenied."""
    sending = _Sending(
        connection=connection,
        repository=repository,
        blob=blob,
        action=f"push {what} to {connection.registry}/{repository}",
        scopes=frozenset({scope(repository, "pull", "push")}),
        tell=_Tell(progress, what, blob.size_bytes),
    )
    if blob.size_bytes > PART_BYTES:
        with contextlib.suppress(_TakesNoParts):
            sending.in_parts(PART_BYTES)
            return
    sending.whole()


class _TakesNoParts(Exception):
    """The registry refused a part."""


@dataclass(kw_only=True)
class _Sending:
    connection: Connection
    repository: str
    blob: Blob
    action: str
    scopes: Scopes
    tell: _Tell
    location: str = field(default="", init=False)

    def whole(self) -> None:
        """In one request; from the start again when it breaks, as a registry need not keep what it got of one."""
        for pause in (*PAUSES_SECONDS, None):
            self._start()
            try:
                self._finish(Part(self.blob.open, self.blob.size_bytes, self.tell), tries=1)
            except RegistryUnreachable:
                if pause is None:
                    raise
                self.tell.back_to(0)
                time.sleep(pause)
            else:
                return

    def in_parts(self, part_bytes: int) -> None:
        """In requests of `part_bytes`, the next one only after the registry has the last."""
        for _ in range(RESTARTS):
            if self._all_parts(part_bytes):
                return
        raise RegistryUnreachable(
            f"cannot {self.action}: the connection broke and the registry forgot what it had, {RESTARTS} times. "
            "Run the same command again on a better connection; what was pushed before is not sent again."
        )

    def _all_parts(self, part_bytes: int) -> bool:
        """Whether all of it arrived; False where it has to be sent from the start again."""
        smallest = self._start()
        offset = 0
        for part in _parts(self.blob.open(), max(part_bytes, smallest)):
            if not self._send_part(offset, part):
                return False
            offset += len(part)
        self._finish(None)
        return True

    def _send_part(self, offset: int, part: bytes) -> bool:
        """Sends a part, after a broken connection what is missing of it. False where the registry lost the upload."""
        arrived = 0
        for pause in (*PAUSES_SECONDS, None):
            self.tell.back_to(offset + arrived)
            first, rest = offset + arrived, memoryview(part)[arrived:]
            try:
                answer = self._patch(first, rest)
            except RegistryUnreachable:
                if pause is None:
                    raise
                time.sleep(pause)
                there = self._received()
                if there is None or not offset <= there <= offset + len(part):
                    return False
                arrived = there - offset
                if arrived == len(part):
                    return True
                continue
            if answer.status_code >= 400:
                raise _TakesNoParts
            self._move(answer.headers.get("Location"))
            return True
        raise AssertionError("the last try raises or returns")

    def _patch(self, first: int, content: memoryview) -> requests.Response:
        headers = {**_BINARY, "Content-Range": f"{first}-{first + len(content) - 1}"}
        return self.connection.request(
            "PATCH",
            self.location,
            action=self.action,
            scopes=self.scopes,
            good=(201, 202, 204, *_NO_PARTS),
            headers=headers,
            body=lambda: Part(lambda: _slices(content), len(content), self.tell),
            tries=1,
        )

    def _received(self) -> int | None:
        """How many bytes the registry has of this upload, or None where it does not know it any more."""
        answer = self.connection.request(
            "GET", self.location, action=self.action, scopes=self.scopes, good=tuple(range(200, 500))
        )
        if answer.status_code != 204:
            return None
        self._move(answer.headers.get("Location"))
        last = answer.headers.get("Range", "").rpartition("-")[2]
        # "0-0" is both nothing and one byte; taken as nothing, the part is sent again at worst.
        return int(last) + 1 if last.isdecimal() and int(last) > 0 else 0

    def _start(self) -> int:
        """Begins an upload; the smallest part that the registry takes, in bytes."""
        path = f"/v2/{self.repository}/blobs/uploads/"
        answer = self.connection.request("POST", path, action=self.action, scopes=self.scopes, good=(202,))
        self.location = path
        self._move(answer.headers.get("Location"))
        self.tell.back_to(0)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return int(least) if least.isdecimal() else 0

    def _finish(self, body: Part | None, *, tries: int = len(PAUSES_SECONDS) + 1) -> None:
        parts = urlsplit(self.location)
        query = "&".join(filter(None, [parts.query, f"digest={self.blob.digest}"]))
        self.connection.request(
            "PUT",
            urlunsplit(parts._replace(query=query)),
            action=self.action,
            scopes=self.scopes,
            good=(201, 204),
            headers=_BINARY if body is not None else {"Content-Length": "0"},
            body=(lambda: body) if body is not None else None,
            tries=tries,
        )

    def _move(self, location: str | None) -> None:
        self.location = urljoin(self.location, location or "")


class _Tell:
    """Counts what was sent and tells it in MB, now and then, for what takes a while."""

    def __init__(self, progress: Progress, what: str, size_bytes: int) -> None:
        self._progress = progress
        self._what = what
        self._size_bytes = size_bytes
        self._sent = 0
        self._next = time.monotonic() + _TELL_EVERY_SECONDS

    def __call__(self, more: int) -> None:
        self._sent += more
        now = time.monotonic()
        if self._size_bytes >= TELL_FROM_BYTES and now >= self._next:
            self._next = now + _TELL_EVERY_SECONDS
            done, whole = self._sent / MEGABYTE, self._size_bytes / MEGABYTE
            self._progress(f"{self._what}: {done:.0f} of {whole:.0f} MB")

    def back_to(self, offset: int) -> None:
        self._sent = offset


def _parts(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The content in pieces of `size`, the last one shorter."""
    part = bytearray()
    for chunk in chunks:
        part += chunk
        while len(part) >= size:
            yield bytes(part[:size])
            del part[:size]
    if part:
        yield bytes(part)


def _slices(content: memoryview) -> Iterator[bytes]:
    for start in range(0, len(content), READ_BYTES):
        yield bytes(content[start : start + READ_BYTES])
