"""Ports for tests' servers: none is given twice, neither by one of pytest's workers nor by two of them."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

BELOW_EPHEMERAL = range(20_000, 30_000)
"""The system hands higher ports to outgoing connections, Kubernetes those from 30000 on to its services' nodes."""


def share(ports: range, worker: str, workers: int) -> range:
    """The ports of one of pytest-xdist's workers (`gw0`, `gw1`, …); all of them where pytest runs alone."""
    return ports[int(worker.removeprefix("gw")) :: workers] if worker else ports


def _in_turn(ports: range) -> Iterator[int]:
    """Each once, from a place chosen by chance: another run of the tests may be going on beside this one."""
    start = random.SystemRandom().randrange(len(ports))
    yield from ports[start:]
    yield from ports[:start]


_own = _in_turn(
    share(
        BELOW_EPHEMERAL,
        os.environ.get("PYTEST_XDIST_WORKER", ""),
        int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
    )
)


def free_port() -> int:
    """A TCP port on which nothing listens, that no connection uses, and that no other test was or will be given.

    So it stays free until its own test starts a server on it, minutes later. Raises OSError when all have been given.
    """
    for port in _own:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"every port of {BELOW_EPHEMERAL} has been given or is in use")
