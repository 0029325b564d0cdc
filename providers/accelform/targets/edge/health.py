"""Is a service there: its port and the public health call (grpc.health.v1)."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import grpc

Health = Literal["SERVING", "NOT_SERVING", "UNREACHABLE"]

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # A shared subchannel would remember the last refusal and wait before trying again.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a check needs where the server speaks TLS: the very certificate that it has to show, a name that this is
    for, and, where the server wants one from its clients, a certificate with its private key. All PEM."""

    certificate: bytes
    name: str
    own: bytes = field(default=b"", repr=False)


def check(port: int, *, trust: Trust | None = None, timeout_seconds: float = 2.0) -> Health:
    """What the server on loopback `port` answers to grpc.health.v1.Health/Check for the whole server.

    A server that shows another certificate than the one in `trust` counts as unreachable.
    """
    if not _listens(port, timeout_seconds):
        return "UNREACHABLE"
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with _channel(port, trust) as channel:
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


def _channel(port: int, trust: Trust | None) -> grpc.Channel:
    import grpc

    if trust is None:
        return grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trust.certificate, private_key=trust.own or None, certificate_chain=trust.own or None
    )
    # The certificate is for the name that clients use, and the box asks on loopback.
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", trust.name))
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options=options)


def _listens(port: int, timeout_seconds: float) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds).close()
    except OSError:
        return False
    return True
