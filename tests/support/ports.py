"""Ports for tests' servers."""

from __future__ import annotations

import random
import socket

BELOW_EPHEMERAL = range(20_000, 32_000)
"""The system hands higher ports to outgoing connections, also between a test's look and its server's start."""


def free_port() -> int:
    """A TCP port on which nothing listens and that no connection uses; raises OSError after a hundred misses."""
    for _ in range(100):
        port = random.SystemRandom().choice(BELOW_EPHEMERAL)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port found in {BELOW_EPHEMERAL}")
