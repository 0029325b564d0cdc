"""Is a service there: its port and the public health call (grpc.health.v1)."""

from __future__ import annotations

import errno
import socket

from accelform.targets.calls import Health, Trust, check, takes_keys
from accelform_runtime.settings import LOOPBACK

__all__ = ["Health", "Trust", "bind_problem", "check", "takes_keys"]


def bind_problem(port: int, *, listen_address: str = LOOPBACK) -> str | None:
    """Why nothing can listen on `port` now, or None. Binds without listening, so that no one notices."""
    family = socket.AF_INET6 if ":" in listen_address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an ended server that linger in TIME_WAIT don't block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen_address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is already in use on {listen_address}"
            if error.errno == errno.EACCES:
                return f"port {port} needs more rights than this user has; choose one above 1023"
            return f"port {port} cannot be opened on {listen_address}: {error.strerror}"
    return None
