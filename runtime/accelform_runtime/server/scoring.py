"""PredictionService on one FPGA: from the bytes of a request to the bytes of its reply."""

from __future__ import annotations

import asyncio
import functools
import time
from typing import Final

import grpc
from grpc import aio

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import AccelRuntimeError, DeadlinePassed, ServiceUnreachable
from accelform_runtime.protocol import MEASURED_KEY, PREDICTION_SERVICE, REQUEST_ID_KEY
from accelform_runtime.server.auth import new_request_id
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.server.queue import FpgaQueue, Wanted
from accelform_runtime.worker import images, predict
from accelform_runtime.worker.logs import Log
from accelform_runtime.worker.metadata import Metadata, asks_for_certificate, exactness_metadata, model_metadata
from accelform_runtime.worker.modelled import ModelledFpga, ModelledTimes
from accelform_runtime.worker.served import Served

Scored = tuple[bytes, ModelledTimes, Exactness | None]
"""The reply, its times, and why it is exact where the call asked for that."""

_INTERNAL: Final = "the service failed on this call; its log tells why under this call's request_id"


class Scoring:
    """Answers Predict; `resident` is None until the model is loaded and warm."""

    def __init__(self, config: ServiceConfig, queue: FpgaQueue, log: Log) -> None:
        self._config = config
        self._queue = queue
        self._log = log
        self._resident: tuple[Fpga, ModelledFpga] | None = None
        self._about: Metadata = ()
        self._draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def take(self, fpga: Fpga) -> None:
        """Starts answering with the model on `fpga`."""
        bundle = fpga.bundle
        self._resident = (fpga, ModelledFpga(latency_ms=bundle.latency_ms, occupancy_ms=bundle.occupancy_ms))
        self._about = model_metadata(fpga)

    async def drain(self) -> None:
        """Turns new calls away from now on, and returns once no accepted call is unanswered."""
        self._draining = True
        await self._idle.wait()

    @property
    def in_flight(self) -> int:
        """Accepted calls without an answer."""
        return self._in_flight

    def handler(self) -> grpc.GenericRpcHandler:
        """The service for a gRPC server; messages pass as bytes, so that the event loop parses none of them."""
        return grpc.method_handlers_generic_handler(
            PREDICTION_SERVICE, {"Predict": grpc.unary_unary_rpc_method_handler(self._predict)}
        )

    async def _predict(self, message: bytes, context: aio.ServicerContext) -> bytes:
        arrival = time.monotonic()
        request_id = new_request_id()
        self._in_flight += 1
        self._idle.clear()
        code, detail = "CANCELLED", ""
        fields: dict[str, object] = {}
        # Beside the work rather than before it: waiting for the send costs as much as a small call's transport.
        told = asyncio.ensure_future(context.send_initial_metadata(((REQUEST_ID_KEY, request_id),)))
        told.add_done_callback(lambda sent: sent.cancelled() or sent.exception())
        try:
            certified = asks_for_certificate(context.invocation_metadata() or ())
            reply, times, exactness = await self._score(message, certified, arrival, context.time_remaining())
            await told
            measured_ms = (time.monotonic() - arrival) * 1000
            about = (*self._about, *exactness_metadata(exactness)) if exactness else self._about
            context.set_trailing_metadata((*times.metadata(), *about, (MEASURED_KEY, f"{measured_ms:.3f}")))
            code, fields = "OK", {"fpga_ms": round(times.latency_ms, 4), "fpga_queue_ms": round(times.queue_ms, 4)}
            if exactness:
                fields["exactness"] = exactness.how
            return reply
        except AccelRuntimeError as error:
            code, detail = error.status, str(error)
            await told
            await context.abort(grpc.StatusCode[code], _INTERNAL if code == "INTERNAL" else detail)
        except aio.AbortError:
            raise
        except Exception as error:
            code, detail = "INTERNAL", f"{type(error).__name__}: {error}"
            await told
            await context.abort(grpc.StatusCode.INTERNAL, _INTERNAL)
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            if detail:
                fields = {"detail": detail}
            ms = round((time.monotonic() - arrival) * 1000, 3)
            line = functools.partial(self._log.write, "request", request_id=request_id, code=code, ms=ms, **fields)
            asyncio.get_running_loop().call_soon(line)  # after the reply is on its way
        raise AssertionError("abort raises")

    async def _score(self, message: bytes, certified: bool, arrival: float, remaining: float | None) -> Scored:
        if self._draining:
            raise ServiceUnreachable("the service is stopping; ask again, its successor or another replica answers")
        if self._resident is None:
            raise ServiceUnreachable("the model is still loading; ask again when the health check says SERVING")
        fpga, modelled = self._resident
        limit = self._config.scoring_timeout_ms / 1000
        deadline = arrival + (limit if remaining is None else min(limit, remaining))
        wait_ms = self._config.max_request_wait_time_ms

        def work(wanted: Wanted) -> Scored:
            question = predict.parse(message, Served(bundle=fpga.bundle, service=self._config.name))
            proofs: list[Exactness] = []
            for index in range(question.count):
                if not wanted():
                    raise DeadlinePassed("the call's time was over before all of its inputs were scored")
                value = question.value(index)
                array = images.decode(value)[None] if isinstance(value, bytes) else value
                if certified:
                    result, proof = fpga.run_certified(array, question.names, wanted)
                    proofs.append(proof)
                else:
                    result = fpga.run(array, question.names)
                question.add(result)
            times = modelled.submit(arrival, question.count)
            exactness = Exactness.of(proofs) if certified else None
            return question.answer(), times, exactness

        wait_until = arrival + wait_ms / 1000 if wait_ms else None
        return await self._queue.run(work, deadline=deadline, wait_until=wait_until)  # type: ignore[no-any-return]
