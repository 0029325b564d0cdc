"""The key check: one interceptor in front of every method except health."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
from grpc import aio

from accelform_runtime.keys import KeyFile
from accelform_runtime.protocol import AUTHORIZATION_KEY, REQUEST_ID_KEY
from accelform_runtime.worker.logs import Log

HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"
REFUSAL: Final = "this service needs a key: send metadata `authorization: Bearer KEY` with its primary or secondary key"

Metadata = Sequence[tuple[str, str | bytes]]


class KeyInterceptor(aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls without a known key with UNAUTHENTICATED, before any of their bytes are looked at."""

    def __init__(self, keys: KeyFile, log: Log) -> None:
        self._keys = keys
        self._log = log
        self._reported: str | None = None

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], details: grpc.HandlerCallDetails
    ) -> Any:
        if details.method.startswith(HEALTH_PREFIX):
            return await continuation(details)
        allowed = self._keys.verify(candidate_key(details.invocation_metadata))
        if self._keys.problem != self._reported:
            self._reported = self._keys.problem
            self._log.write("keys", problem=self._reported or "", state="kept" if self._reported else "reloaded")
        if allowed:
            return await continuation(details)
        return grpc.unary_unary_rpc_method_handler(self._refuse)

    async def _refuse(self, _request: bytes, context: aio.ServicerContext) -> bytes:
        request_id = new_request_id()
        self._log.write("request", request_id=request_id, code="UNAUTHENTICATED", ms=0.0)
        await context.send_initial_metadata(((REQUEST_ID_KEY, request_id),))
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, REFUSAL)
        raise AssertionError("abort raises")


def candidate_key(metadata: Metadata) -> str:
    """The key in a call's metadata, after `Bearer ` or bare; empty where there is none."""
    for name, value in metadata:
        if name == AUTHORIZATION_KEY and isinstance(value, str):
            scheme, _, rest = value.partition(" ")
            return rest.strip() if scheme.lower() == "bearer" else value.strip()
    return ""


def new_request_id() -> str:
    """A random id that a caller can quote and an operator can find in the log."""
    return secrets.token_hex(16)
