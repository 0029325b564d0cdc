"""Connections to registries that answer, which is found out before anything else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from accelform.registry.connection import Connection


@contextmanager
def connected(registry: str, *, ca_file: str, brief: bool = False) -> Iterator[Connection]:
    """A connection to the registry. Raises as `Connection.ping` does."""
    with Connection(registry, ca_file=ca_file, brief=brief) as connection:
        connection.ping()
        yield connection


@contextmanager
def connected_beside(near: Connection, registry: str, *, ca_file: str) -> Iterator[Connection]:
    """`near` itself where it leads to that registry, else a connection of its own."""
    if registry == near.registry:
        yield near
        return
    with connected(registry, ca_file=ca_file) as far:
        yield far
