"""gRPC health v1, answered on the event loop without a key and without the queue."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accelform_runtime.protocol import PREDICTION_SERVICE

SERVICES: Final = ("", PREDICTION_SERVICE)
"""What can be asked for; the empty name is the whole server."""
MAX_WATCHERS: Final = 64


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """One state for the whole server: NOT_SERVING until the model is warm, and again once it drains.

    grpc_health's own servicer loses its other watchers when one of them leaves, and keeps a stopping server waiting
    for clients that never stop watching.
    """

    def __init__(self) -> None:
        self._status = health_pb2.HealthCheckResponse.NOT_SERVING
        self._changed = asyncio.Condition()
        self._closed = False
        self._watchers = 0

    async def set_serving(self, serving: bool) -> None:
        """Tells checks and watchers."""
        async with self._changed:
            self._status = (
                health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            )
            self._changed.notify_all()

    async def close(self) -> None:
        """Ends every Watch after it has told the last state."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: aio.ServicerContext) -> Any:  # noqa: N802
        if request.service not in SERVICES:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return health_pb2.HealthCheckResponse(status=self._status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: aio.ServicerContext) -> None:  # noqa: N802
        if self._watchers >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{MAX_WATCHERS} clients watch already; use Check")
        self._watchers += 1
        try:
            told = -1
            while True:
                status = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                if request.service in SERVICES:
                    status = self._status
                if status != told:
                    await context.write(health_pb2.HealthCheckResponse(status=status))
                    told = status
                elif self._closed:
                    return
                else:
                    await self._next_change(told)
        finally:
            self._watchers -= 1

    async def _next_change(self, told: int) -> None:
        async with self._changed:
            if not self._closed and told in (self._status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN):
                await self._changed.wait()
