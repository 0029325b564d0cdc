"""Blobs as they are sent: content that can be read again from its start when a connection breaks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Blob:
    """`digest` is "sha256:…" of all that `open()` yields, `size_bytes` its length; each `open()` starts anew."""

    digest: str
    size_bytes: int
    open: Callable[[], Iterator[bytes]]


def of_bytes(content: bytes) -> Blob:
    """A blob in memory."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Blob(digest=digest, size_bytes=len(content), open=lambda: iter([content]))


def of_file(path: Path, *, digest: str, size_bytes: int) -> Blob:
    """A blob in a file whose digest and size are known."""

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(READ_BYTES):
                yield chunk

    return Blob(digest=digest, size_bytes=size_bytes, open=chunks)


class Part:
    """Some of a blob's bytes as a request's body; sends are told to `sent` in bytes.

    Has a length and can be iterated over, from which requests makes a Content-Length and a stream.
    """

    def __init__(self, chunks: Callable[[], Iterator[bytes]], size_bytes: int, sent: Callable[[int], None]) -> None:
        self._chunks = chunks
        self._size_bytes = size_bytes
        self._sent = sent

    def __len__(self) -> int:
        return self._size_bytes

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks():
            yield chunk
            self._sent(len(chunk))
