"""Walks protobuf bytes without parsing them: what a file is, and what its graphs name, before any library sees it.

Only tags and lengths are read, so a file of gigabytes costs as little as a small one, and nothing is allocated. The
wire format is that of protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 20_000_000
MAX_VARINT_BYTES = 10

Span = tuple[int, int]
Buffer = bytes | mmap.mmap


class Malformed(ValueError):
    """The bytes are no protobuf message, or end too early."""


@contextmanager
def mapped(path: Path) -> Iterator[Buffer]:
    """The file's bytes, read as they are looked at."""
    with path.open("rb") as stream:
        if path.stat().st_size == 0:
            yield b""
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            yield content


def fields(content: Buffer, span: Span | None = None) -> Iterator[tuple[int, int, Span]]:
    """(field number, wire type, where the value is) of one message; a varint's span is the number itself twice.

    Raises:
        Malformed.
    """
    place, end = span or (0, len(content))
    for _ in range(MAX_FIELDS):
        if place == end:
            return
        tag, place = _varint(content, place, end)
        number, kind = tag >> 3, tag & 7
        if number == 0:
            raise Malformed(f"a field has number 0 at byte {place}")
        if kind == VARINT:
            value, place = _varint(content, place, end)
            yield number, kind, (value, value)
            continue
        if kind == BYTES:
            length, place = _varint(content, place, end)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise Malformed(f"wire type {kind} at byte {place}")
        if length > end - place:
            raise Malformed(f"it ends at byte {end}, {length - (end - place)} bytes too early")
        yield number, kind, (place, place + length)
        place += length
    raise Malformed(f"more than {MAX_FIELDS} fields")


def messages(content: Buffer, span: Span | None, *path: int) -> Iterator[Span]:
    """Where the messages (or strings) are that the field numbers lead to; every repetition of each."""
    if not path:
        yield span or (0, len(content))
        return
    for number, kind, where in fields(content, span):
        if number == path[0] and kind == BYTES:
            yield from messages(content, where, *path[1:])


def text(content: Buffer, span: Span, *, limit: int = 1 << 12) -> str:
    """The string there, cut at `limit` bytes."""
    return bytes(content[span[0] : min(span[1], span[0] + limit)]).decode("utf-8", "replace")


def _varint(content: Buffer, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for index in range(place, min(place + MAX_VARINT_BYTES, end)):
        byte = content[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise Malformed(f"a number does not end at byte {place}")
