"""Connections to registries that answer, which is found out before anything else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelform.registry.connection import Connection, Progress


@contextmanager
def connected(
    registry: str, *, ca_file: str, brief: bool = False, progress: Progress = lambda _: None
) -> Iterator[Connection]:
    """A connection to the registry. Raises as `Connection.ping` does."""
    with Connection(registry, ca_file=ca_file, brief=brief, progress=progress) as connection:
        connection.ping()
        yield connection


@contextmanager
def connected_beside(
    near: Connection, registry: str, *, ca_file: str, progress: Progress = lambda _: None
) -> Iterator[Connection]:
    """`near` itself where it leads to that registry, else a connection of its own."""
    if registry == near.registry:
        yield near
        return
    with connected(registry, ca_file=ca_file, progress=progress) as far:
        yield far
