"""gRPC's failures as this package's errors, each with what to do next."""

from __future__ import annotations

from typing import Final, NoReturn

import grpc

from accelform_runtime.client._wrong_port import what_answers
from accelform_runtime.client.address import Address
from accelform_runtime.errors import (
    AccelRuntimeError,
    DeadlinePassed,
    InvalidRequest,
    KeyRefused,
    Overloaded,
    ServiceFailed,
    ServiceUnreachable,
    UnknownModel,
    UnknownSignature,
)
from accelform_runtime.protocol import REQUEST_ID_KEY

_KINDS: Final[dict[grpc.StatusCode, type[AccelRuntimeError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.NOT_FOUND: UnknownModel,
    grpc.StatusCode.FAILED_PRECONDITION: UnknownSignature,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
}


def raise_for(error: grpc.RpcError, address: Address, timeout_seconds: float) -> NoReturn:
    """Raises the error that stands for `error`, which a call to `address` ended with."""
    code, detail = error.code(), error.details() or "no details"
    place = f"the service at {address.target}"
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        if heard := what_answers(address):
            raise ServiceUnreachable(f"{place} cannot be called by gRPC: {heard}") from error
        raise ServiceUnreachable(
            f"{place} cannot be reached within {timeout_seconds:g} s: {detail}; check that it is deployed and serving"
        ) from error
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise DeadlinePassed(f"{place} did not answer within {timeout_seconds:g} s; allow more time") from error
    if code is grpc.StatusCode.UNAUTHENTICATED:
        raise KeyRefused(
            f"{place} refused the key or token ({detail}); use its primary or secondary key "
            "(pulumi stack output --show-secrets), or a new token (accelform token)"
        ) from error
    if code in _KINDS:
        raise _KINDS[code](f"{place} refused the call: {detail}") from error
    request_id = dict(error.initial_metadata() or ()).get(REQUEST_ID_KEY, "unknown")
    raise ServiceFailed(f"{place} failed with {code.name}: {detail} (request id {request_id})") from error
