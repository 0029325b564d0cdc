"""The calls under way: each is scored one value at a time, so that others can come between the values of a batch."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import AccelRuntimeError, DeadlinePassed, InternalError
from accelform_runtime.worker import methods
from accelform_runtime.worker.beside import Beside, Job
from accelform_runtime.worker.frames import Connection, Frame, Kind, Outgoing
from accelform_runtime.worker.logs import Log
from accelform_runtime.worker.metadata import exactness_metadata, model_metadata
from accelform_runtime.worker.modelled import ModelledFpga, ModelledTimes
from accelform_runtime.worker.question import Question
from accelform_runtime.worker.served import Served

MAX_MESSAGE: Final = 2000
"""Characters of a refusal's text; a status travels in headers, which have to stay short."""
CHECK_SECONDS: Final = 1.0
"""Shortest time between two checks of the model, so that calls on which it fails cost others little."""


SMALL_BYTES: Final = 512 * 1024
SMALL_WORK: Final = 1_500_000
"""Encoded images up to that size and that many pixels are decoded at once: it takes less than handing them over."""
SMALL_JSON_BYTES: Final = 1024 * 1024
SMALL_JSON_VALUES: Final = 16_384
"""JSON texts up to that size and that many values are read at once."""
PATIENCE_SECONDS: Final = 0.005
"""How long a call's turn lasts that waits for work beside the model; then others have theirs."""
LEAST_PATIENCE_SECONDS: Final = 0.001
"""How long it lasts where another call is there already: two calls that both wait would otherwise keep a core busy."""


@dataclasses.dataclass
class _Call:
    method: str
    question: Question | None
    arrival: float
    deadline: float | None
    certified: bool
    job: Job | None = None
    """What is done for it beside the model: reading the request, or decoding its next image."""
    turns: int = 0
    done: int = 0
    times: ModelledTimes | None = None
    proofs: list[Exactness] = dataclasses.field(default_factory=list)

    def in_time(self) -> bool:
        return self.deadline is None or time.monotonic() < self.deadline

    def check_time(self) -> None:
        if not self.in_time():
            raise DeadlinePassed("the call's time was over before all of its inputs were scored")


class Calls:
    """Runs what the front asks for; whatever goes wrong with a call is an answer, and the next call is fine."""

    def __init__(self, fpga: Fpga, served: Served, log: Log, connection: Connection) -> None:
        """`connection` tells whether the front has sent something since; a certified call then stops."""
        self._fpga = fpga
        self._served = served
        self._log = log
        self._connection = connection
        self._beside = Beside()
        self._modelled = ModelledFpga(latency_ms=fpga.bundle.latency_ms, occupancy_ms=fpga.bundle.occupancy_ms)
        self._about = model_metadata(fpga)
        self._under_way: dict[int, _Call] = {}
        self._doubtful = False
        self._checked = 0.0
        if fpga.bundle.takes_images:
            from accelform_runtime.worker import headers, images  # its decoders would be idle beside a model of tensors

            self._header, self._decode = headers.read, images.decode

    def answer(self, frame: Frame) -> Outgoing | None:
        """The answer to a frame; None where it wants none."""
        if frame.kind is Kind.DROP:
            self._forget(self._under_way.pop(frame.id, None))
            return None
        if frame.kind is Kind.PING:
            return Outgoing(Kind.PONG, frame.id, {})
        # Out of the list until its next value is due, so that a call that fails leaves nothing behind.
        call = self._under_way.pop(frame.id, None)
        try:
            if frame.kind is Kind.RUN:
                call = self._begin(frame)
            elif frame.kind is not Kind.CONTINUE:
                raise InternalError(f"a frame of kind {frame.kind.name} is no question")
            elif call is None:
                raise InternalError(f"call {frame.id} is not under way")
            return self._go_on(frame.id, call)
        except AccelRuntimeError as error:
            self._forget(call)
            return self._refuse(frame.id, error, error.status, str(error))
        except Exception as error:
            self._forget(call)
            return self._refuse(frame.id, error, "INTERNAL", f"{type(error).__name__}: {error}")

    def sound(self) -> bool:
        """Whether the model still computes what it computed when it was loaded; asked after each frame.

        It is tried once a call has failed for a reason inside: a call may be the reason, and then the next one is fine,
        or memory that is used up, and then none ever is.
        """
        now = time.monotonic()
        if not self._doubtful or now - self._checked < CHECK_SECONDS:
            return True
        self._doubtful, self._checked = False, now
        try:
            self._fpga.warm_up(runs=1)
        except Exception as error:
            self._log.traceback("failure", error)
            return False
        return True

    def prepare(self) -> None:
        """Imports what only some calls need: best between telling that the model is ready and the first call."""
        if self._fpga.bundle.takes_images:
            import accelform_runtime.worker.pictures
        import accelform_runtime.worker.rest  # noqa: F401

    def _begin(self, frame: Frame) -> _Call:
        meta, now = frame.meta, time.monotonic()
        method, spec, left_ms = str(meta["method"]), meta.get("spec") or {}, meta.get("left_ms")
        call = _Call(
            method,
            None,
            arrival=now - meta["waited_ms"] / 1000,
            deadline=None if left_ms is None else now + left_ms / 1000,
            certified=bool(meta.get("certified")),
        )
        if method in methods.REST and _is_large(frame.body):
            call.job = self._beside.begin(method, {"spec": spec, "served": self._served.described()}, frame.body)
        else:
            call.question = methods.read(method, frame.body, spec, self._served)
        return call

    def _go_on(self, call_id: int, call: _Call) -> Outgoing:
        call.turns += 1
        call.check_time()
        if call.question is None:
            if (found := self._found(call)) is None:
                return self._later(call_id, call)
            call.question = methods.read_beside(call.method, *found, self._served)
        if call.question.count == 0:
            return self._finish(call_id, call, call.question, ModelledTimes.none())
        if (array := self._value(call, call.question)) is None:
            return self._later(call_id, call)
        call.check_time()
        if call.certified:
            result, proof = self._fpga.run_certified(array, call.question.names, lambda: self._wanted(call))
            call.proofs.append(proof)
        else:
            result = self._fpga.run(array, call.question.names)
        call.question.add(result)
        call.done += 1
        call.times = self._modelled.submit(call.arrival, call.times)
        if call.done == call.question.count:
            return self._finish(call_id, call, call.question, call.times)
        return self._later(call_id, call)

    def _value(self, call: _Call, question: Question) -> NDArray[Any] | None:
        """The call's next value as the model takes it; None while it is being decoded."""
        if call.job is None:
            value = question.value(call.done)
            if not isinstance(value, bytes):
                return value
            if len(value) <= SMALL_BYTES and (header := self._header(value)).work <= SMALL_WORK:
                return self._decode(value, header=header)[None]
            call.job = self._beside.begin("image", {}, value)
        if (found := self._found(call)) is None:
            return None
        told, pixels = found
        return pixels.reshape(1, *told["shape"])

    def _found(self, call: _Call) -> tuple[dict[str, Any], NDArray[np.uint8]] | None:
        """What the call's work beside the model has come to; None where others are to have their turn first."""
        job = call.job
        if job is None:
            raise InternalError("the call waits for nothing")
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._beside.over(job):
            left = until - time.monotonic()
            if left <= 0:
                return None
            if self._connection.readable():
                until = min(until, time.monotonic() + LEAST_PATIENCE_SECONDS)
                self._beside.wait(LEAST_PATIENCE_SECONDS)
            else:
                self._connection.wait(self._beside.descriptor(), left)
        call.job = None
        return job.result()

    def _later(self, call_id: int, call: _Call) -> Outgoing:
        """Keeps the call for its next turn. Its total counts turns, also those that brought no value."""
        self._under_way[call_id] = call
        left = 1 if call.question is None else call.question.count - call.done
        return Outgoing(Kind.PROGRESS, call_id, {"done": call.done, "total": call.turns + left})

    def _forget(self, call: _Call | None) -> None:
        if call is not None and call.job is not None:
            self._beside.forget(call.job)

    def _wanted(self, call: _Call) -> bool:
        return call.in_time() and not self._connection.readable()

    def _finish(self, call_id: int, call: _Call, question: Question, times: ModelledTimes) -> Outgoing:
        reply = question.answer()
        log: dict[str, Any] = {"fpga_ms": round(times.latency_ms, 4), "fpga_queue_ms": round(times.queue_ms, 4)}
        trailing = times.metadata() + self._about
        if call.certified:
            exactness = Exactness.of(call.proofs)
            trailing += exactness_metadata(exactness)
            log["exactness"] = exactness.how
        meta = {
            "trailing": trailing,
            "log": log,
            "modelled": vars(times),
            "images": question.count,
        }
        return Outgoing(Kind.DONE, call_id, meta, reply)

    def _refuse(self, call_id: int, error: Exception, code: str, message: str) -> Outgoing:
        if code == "INTERNAL":
            self._doubtful = True
            self._log.traceback("failure", error, call=call_id)
        told = {"code": code, "kind": type(error).__name__, "message": _clipped(message)}
        return Outgoing(Kind.REFUSED, call_id, told)


def _clipped(message: str) -> str:
    """`message` as long as a status can carry it: it may repeat a name of any length."""
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 1] + "…"


def _is_large(text: memoryview) -> bool:
    """Whether a JSON text takes so long to read that others had better not wait for it."""
    if len(text) > SMALL_JSON_BYTES:
        return True
    data = bytes(text)
    return sum(data.count(mark) for mark in (b",", b"[", b"{")) > SMALL_JSON_VALUES
