"""Calls to a service from outside, each over a connection of its own: its health (grpc.health.v1), and its keys."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from accelform_runtime.settings import LOOPBACK

if TYPE_CHECKING:
    import grpc

Health = Literal["SERVING", "NOT_SERVING", "UNREACHABLE"]

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # A shared subchannel would remember the last refusal and wait before trying again.
    ("grpc.use_local_subchannel_pool", 1),
)
_STATUS_METHOD = "/tensorflow.serving.ModelService/GetModelStatus"


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What a check needs where the server speaks TLS: the very certificate that it has to show, a name that this is
    for, and, where the server wants one from its clients, a certificate with its private key. All PEM."""

    certificate: bytes
    name: str
    own: bytes = field(default=b"", repr=False)


def check(port: int, *, host: str = LOOPBACK, trust: Trust | None = None, timeout_seconds: float = 2.0) -> Health:
    """What the server at `host` answers to grpc.health.v1.Health/Check for the whole server.

    A server that shows another certificate than the one in `trust` counts as unreachable.
    """
    if connect_problem(port, host=host, timeout_seconds=timeout_seconds):
        return "UNREACHABLE"
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with _channel(host, port, trust) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=""), timeout=timeout_seconds
            )
        except grpc.RpcError:
            return "UNREACHABLE"
    return "SERVING" if answer.status == health_pb2.HealthCheckResponse.SERVING else "NOT_SERVING"


def takes_keys(
    port: int, keys: Sequence[str], *, host: str = LOOPBACK, trust: Trust | None = None, timeout_seconds: float = 2.0
) -> bool:
    """Whether whoever answers one new connection takes every one of `keys` (or tokens); False where nobody answers."""
    import grpc

    with _channel(host, port, trust) as channel:
        ask = channel.unary_unary(_STATUS_METHOD)
        for key in keys:
            try:
                ask(b"", metadata=(("authorization", f"Bearer {key}"),), timeout=timeout_seconds)
            except grpc.RpcError as error:
                # Whatever else is wrong with an empty question is found after the key was.
                if error.code() not in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND):
                    return False
    return True


def connect_problem(port: int, *, host: str = LOOPBACK, timeout_seconds: float = 2.0) -> str | None:
    """Why no TCP connection to `host` can be made, or None."""
    try:
        socket.create_connection((host, port), timeout=timeout_seconds).close()
    except OSError as error:
        return str(error.strerror or error)
    return None


def _channel(host: str, port: int, trust: Trust | None) -> grpc.Channel:
    import grpc

    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if trust is None:
        return grpc.insecure_channel(target, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=trust.certificate, private_key=trust.own or None, certificate_chain=trust.own or None
    )
    # The certificate is for the name that clients use, and what is dialled here may be another.
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", trust.name))
    return grpc.secure_channel(target, credentials, options=options)
