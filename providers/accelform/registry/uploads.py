"""Sending a blob: mounted where it can be, else in one request or in parts, and taken up again where it broke.

distribution-spec 1.1, "Pushing blobs". A blob of more than one part goes in `PATCH` requests, so that a broken
connection costs a part and not the blob. A registry that takes no parts (the specification has them, some hosted ones
do not) gets it in one request; what stands in front of one may limit a request's body, and then parts are smaller.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests

from accelform._base.progress import Progress
from accelform.errors import RegistryDenied, RegistryRefused, RegistryUnreachable
from accelform.registry.authorization import Scopes, scope
from accelform.registry.blobs import READ_BYTES, Blob, Part
from accelform.registry.connection import PAUSES_SECONDS, BodyTooLarge, Connection

PART_BYTES = 32 << 20
SMALLEST_PART_BYTES = 256 << 10
"""A body limit below that is an error to mend: nginx's is 1 MiB where nobody raised it."""
MEGABYTE = 1_000_000
TELL_FROM_BYTES = 8 * MEGABYTE
_TELL_EVERY_SECONDS = 2.0
_NO_PARTS = (400, 404, 405, 416, 501)
"""How registries answer a part that they do not take; what else is wrong shows again with the whole blob."""
_BINARY = {"Content-Type": "application/octet-stream"}


def mount(connection: Connection, repository: str, digest: str, source: str) -> bool:
    """See Repository.mount. A registry that starts an upload instead is told that there is none.

    A mount only saves sending the blob, so every refusal is a plain no: what is wrong besides shows when it is sent.
    """
    asked = connection.request
    scopes = frozenset({scope(repository, "pull", "push"), scope(source, "pull")})
    action = f"mount {digest} from {source} in {connection.registry}/{repository}"
    path = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"
    with contextlib.suppress(RegistryDenied, RegistryRefused, RegistryUnreachable):
        answer = asked("POST", path, action=action, scopes=scopes, repository=repository, good=(201, 202), tries=1)
        if answer.status_code == 201:
            return True
        if location := answer.headers.get("Location"):
            begun, good = urljoin(answer.url, location), tuple(range(200, 500))
            asked("DELETE", begun, action=action, scopes=scopes, repository=repository, good=good, tries=1)
    return False


def upload(connection: Connection, repository: str, blob: Blob, *, progress: Progress, what: str) -> None:
    """Send the blob. Raises RegistryUnreachable when it broke too often, RegistryRefused, RegistryDenied."""
    sending = _Sending(
        connection=connection,
        repository=repository,
        blob=blob,
        what=what,
        action=f"push {what} to {connection.registry}/{repository}",
        scopes=frozenset({scope(repository, "pull", "push")}),
        progress=progress,
    )
    sending.run()


class _TakesNoParts(Exception):
    """The registry refused a part."""


class _Lost(Exception):
    """The upload is gone, or an answer was; `error` is what to tell should the blob not be there."""

    def __init__(self, error: Exception) -> None:
        self.error = error


@dataclass(kw_only=True)
class _Sending:
    connection: Connection
    repository: str
    blob: Blob
    what: str
    action: str
    scopes: Scopes
    progress: Progress
    takes_parts: bool = field(default=True, init=False)
    refused_bytes: float = field(default=math.inf, init=False)
    location: str = field(default="", init=False)
    tell: _Tell = field(init=False)

    def __post_init__(self) -> None:
        self.tell = _Tell(self.connection, self.progress, self.what, self.blob.size_bytes)

    def run(self) -> None:
        """Until the blob is there: from the start again where it got lost, otherwise where other bodies are taken."""
        pauses = iter(PAUSES_SECONDS)
        while True:
            try:
                self._once()
            except _TakesNoParts:
                self.takes_parts = False
            except BodyTooLarge as error:
                self._shrink(error)
            except _Lost as lost:
                # The registry may have it all the same: what a proxy answers need not be what came of it.
                if self._is_there():
                    return
                pause = next(pauses, None)
                if pause is None:
                    raise lost.error from None
                self.connection.pause(pause)
            else:
                return

    def _once(self) -> None:
        smallest = self._start()
        part_bytes = max(self.connection.largest_body_bytes or PART_BYTES, smallest)
        if not self.takes_parts or self.blob.size_bytes <= part_bytes:
            self._finish_whole()
            return
        offset = 0
        for part in _parts(self.blob.open(), part_bytes):
            self._send_part(offset, part)
            offset += len(part)
        self._finish_parts()

    def _shrink(self, refused: BodyTooLarge) -> None:
        """Smaller parts from now on, for all blobs. Raises `refused` where there can be none."""
        smaller = max(refused.size_bytes // 4, SMALLEST_PART_BYTES)
        if not self.takes_parts or not smaller < refused.size_bytes < self.refused_bytes:
            raise refused
        self.refused_bytes = refused.size_bytes
        self.connection.largest_body_bytes = min(smaller, self.connection.largest_body_bytes or smaller)
        self.progress(
            f"{self.what}: {self.connection.registry} takes no {refused.size_bytes / MEGABYTE:.1f} MB at once; "
            f"sending parts of {smaller / MEGABYTE:.1f} MB"
        )

    def _send_part(self, offset: int, part: bytes) -> None:
        """Sends a part, after a broken connection what is missing of it."""
        arrived = 0
        for pause in (*PAUSES_SECONDS, None):
            self.tell.back_to(offset + arrived)
            first, rest = offset + arrived, memoryview(part)[arrived:]
            try:
                answer = self._patch(first, rest)
            except RegistryUnreachable as error:
                if pause is None:
                    raise
                self.connection.pause(pause)
                there = self._received()
                if there is None or not offset <= there <= offset + len(part):
                    raise _Lost(self._forgotten(error)) from error
                arrived = there - offset
                if arrived == len(part):
                    return
                continue
            if answer.status_code in _NO_PARTS:
                if first == 0:
                    raise _TakesNoParts
                raise _Lost(self._forgotten(None))
            self._move(answer)
            return

    def _forgotten(self, error: Exception | None) -> Exception:
        why = "the connection broke and the registry" if error else "the registry"
        return RegistryUnreachable(
            f"cannot {self.action}: {why} forgot what it had, {len(PAUSES_SECONDS) + 1} times. "
            "Run the same command again on a better connection; what was pushed before is not sent again."
        )

    def _patch(self, first: int, content: memoryview) -> requests.Response:
        return self._ask(
            "PATCH",
            self.location,
            good=(201, 202, 204, *_NO_PARTS),
            headers={**_BINARY, "Content-Range": f"{first}-{first + len(content) - 1}"},
            body=Part(lambda: _slices(content), len(content), self.tell),
            tries=1,
        )

    def _received(self) -> int | None:
        """How many bytes the registry has of this upload, or None where it does not know it any more."""
        answer = self._ask("GET", self.location, good=tuple(range(200, 500)))
        if answer.status_code != 204:
            return None
        self._move(answer)
        last = answer.headers.get("Range", "").rpartition("-")[2]
        # "0-0" is both nothing and one byte; taken as nothing, the part is sent again at worst.
        return int(last) + 1 if last.isdecimal() and int(last) > 0 else 0

    def _start(self) -> int:
        """Begins an upload; the smallest part that the registry takes, in bytes."""
        answer = self._ask("POST", f"/v2/{self.repository}/blobs/uploads/", good=(202,))
        self._move(answer)
        self.tell.back_to(0)
        least = answer.headers.get("OCI-Chunk-Min-Length", "")
        return int(least) if least.isdecimal() else 0

    def _finish_whole(self) -> None:
        """All of it in one request, of which a registry need not keep what it got when it breaks."""
        body = Part(self.blob.open, self.blob.size_bytes, self.tell)
        try:
            self._put(body)
        except RegistryUnreachable as error:
            raise _Lost(error) from error

    def _finish_parts(self) -> None:
        """The end after the last part; again where only its answer is missing."""
        for pause in (*PAUSES_SECONDS, None):
            try:
                self._put(None)
            except RegistryUnreachable:
                if pause is None:
                    raise
                if self._is_there():
                    return
                self.connection.pause(pause)
            else:
                return

    def _put(self, body: Part | None) -> None:
        parts = urlsplit(self.location)
        query = "&".join(filter(None, [parts.query, f"digest={self.blob.digest}"]))
        address = urlunsplit(parts._replace(query=query))
        headers = _BINARY if body is not None else {"Content-Length": "0"}
        answer = self._ask("PUT", address, good=(201, 204, 404), headers=headers, body=body, tries=1)
        if answer.status_code == 404:
            raise _Lost(self._forgotten(None))

    def _is_there(self) -> bool:
        path = f"/v2/{self.repository}/blobs/{self.blob.digest}"
        return self._ask("HEAD", path, good=(200, 404)).status_code == 200

    def _ask(
        self,
        method: str,
        path: str,
        *,
        good: tuple[int, ...],
        headers: dict[str, str] | None = None,
        body: Part | None = None,
        tries: int | None = None,
    ) -> requests.Response:
        return self.connection.request(
            method,
            path,
            action=self.action,
            scopes=self.scopes,
            repository=self.repository,
            good=good,
            headers=headers,
            body=(lambda: body) if body is not None else None,
            tries=tries,
        )

    def _move(self, answer: requests.Response) -> None:
        """To where the answer says, which may be relative to whoever gave it after a redirect."""
        self.location = urljoin(answer.url, answer.headers.get("Location", ""))


class _Tell:
    """Counts what was sent and tells it in MB, now and then, for what takes a while."""

    def __init__(self, connection: Connection, progress: Progress, what: str, size_bytes: int) -> None:
        self._connection = connection
        self._progress = progress
        self._what = what
        self._size_bytes = size_bytes
        self._sent = 0
        self._next = time.monotonic() + _TELL_EVERY_SECONDS

    def __call__(self, more: int) -> None:
        self._connection.check()
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
