"""Is a service there: its port and the public health call (grpc.health.v1)."""

from __future__ import annotations

import errno
import socket
from typing import Literal

Health = Literal["SERVING", "NOT_SERVING", "UNREACHABLE"]

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # A shared subchannel would remember the last refusal and wait before trying again.
    ("grpc.use_local_subchannel_pool", 1),
)


def check(port: int, *, timeout_seconds: float = 2.0) -> Health:
    """What the server on loopback `port` answers to grpc.health.v1.Health/Check for the whole server."""
    if not _listens(port, timeout_seconds):
        return "UNREACHABLE"
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=""), timeout=timeout_seconds
            )
        except grpc.RpcError:
            return "UNREACHABLE"
    return "SERVING" if answer.status == health_pb2.HealthCheckResponse.SERVING else "NOT_SERVING"


def bind_problem(port: int, *, listen_address: str = "127.0.0.1") -> str | None:
    """Why nothing can listen on `port` now, or None. Binds without listening, so that no one notices."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
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


def _listens(port: int, timeout_seconds: float) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds).close()
    except OSError:
        return False
    return True
