"""A service's life: listen, load, warm up, serve, drain."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path
from typing import Final

from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.device.lock import DeviceLock, Resident
from accelform_runtime.errors import AddressUnavailable, ServiceUnreachable
from accelform_runtime.keys import KeyFile
from accelform_runtime.protocol import NO_BITSTREAM
from accelform_runtime.server.auth import KeyInterceptor
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.server.health import Health
from accelform_runtime.server.queue import FpgaQueue, Wanted
from accelform_runtime.server.scoring import Scoring
from accelform_runtime.worker.logs import Log

MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
MAX_CONCURRENT_STREAMS: Final = 100
CLOSE_SECONDS: Final = 1.0

_OPTIONS: Final = (
    # With port sharing a second server would silently take half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", MAX_CONCURRENT_STREAMS),
    ("grpc.server_handshake_timeout_ms", 10_000),
)


def serve(config: ServiceConfig, model_folder: Path, log: Log) -> None:
    """Serves until SIGTERM or SIGINT, then finishes accepted calls within drain_seconds.

    Raises a UserError when the configuration, the bundle, the FPGA or the address does not allow it.
    """
    keys = KeyFile(Path(config.keys_file)) if config.auth_enabled else None
    bundle = Bundle.read(model_folder)
    resident = Resident(service=config.name, image=config.image, pid=os.getpid())
    lock = DeviceLock(Path(config.device_lock_file), resident)
    try:
        log.write("starting", service=config.name, model=bundle.name, version=bundle.version, pid=os.getpid())
        asyncio.run(_Service(config, model_folder, keys, log).run())
    finally:
        lock.release()


class _Service:
    def __init__(self, config: ServiceConfig, model_folder: Path, keys: KeyFile | None, log: Log) -> None:
        self._config = config
        self._model_folder = model_folder
        self._keys = keys
        self._log = log

    async def run(self) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        queue = FpgaQueue(self._config.max_queue)
        scoring = Scoring(self._config, queue, self._log)
        health = Health()
        interceptors = [KeyInterceptor(self._keys, self._log)] if self._keys else []
        server = aio.server(interceptors=interceptors, options=_OPTIONS)
        server.add_generic_rpc_handlers((scoring.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        port = _bind(server, self._config.listen_address, self._config.port)
        await server.start()
        self._log.write("listening", address=self._config.listen_address, port=port)
        try:
            await self._load(queue, scoring, health, stop)
            await stop.wait()
        finally:
            await self._drain(server, queue, scoring, health)
            queue.close()
        self._log.write("stopped", service=self._config.name)

    async def _load(self, queue: FpgaQueue, scoring: Scoring, health: Health, stop: asyncio.Event) -> None:
        def load(_wanted: Wanted) -> Fpga:
            fpga = Fpga(self._model_folder, threads=self._config.threads, engine=self._config.engine)
            fpga.warm_up()
            return fpga

        loading = asyncio.ensure_future(queue.run(load))
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            loading.cancel()
            return
        stopping.cancel()
        fpga = loading.result()
        scoring.take(fpga)
        await health.set_serving(True)
        self._log.write(
            "serving",
            threads=fpga.threads,
            load_ms=round(fpga.load_seconds * 1000, 1),
            engine=fpga.engine,
            engine_reason=fpga.engine_reason,
            number_format=fpga.bundle.number_format,
            bitstream=fpga.bundle.family or NO_BITSTREAM,
        )

    async def _drain(self, server: aio.Server, queue: FpgaQueue, scoring: Scoring, health: Health) -> None:
        await health.set_serving(False)
        self._log.write("draining", calls=scoring.in_flight, drain_seconds=self._config.drain_seconds)
        # gRPC's own stop would cancel calls that have arrived but have no handler yet; they get a clear UNAVAILABLE.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(scoring.drain(), self._config.drain_seconds)
        if scoring.in_flight:
            self._log.write("abandoned", calls=scoring.in_flight)
            queue.abandon(ServiceUnreachable("the service stopped before this call's turn came; ask again"))
        await health.close()
        await server.stop(CLOSE_SECONDS)


def _bind(server: aio.Server, address: str, port: int) -> int:
    try:
        return int(server.add_insecure_port(f"{address}:{port}"))
    except RuntimeError as error:
        reason = _bind_problem(address, port) or str(error)
        raise AddressUnavailable(
            f"cannot listen on {address}:{port}: {reason}; stop what listens there or configure another port"
        ) from error


def _bind_problem(address: str, port: int) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.strerror
    return None
