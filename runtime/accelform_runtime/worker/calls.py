"""The calls under way: each is scored one value at a time, so that others can come between the values of a batch."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Final

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import AccelRuntimeError, DeadlinePassed, InternalError
from accelform_runtime.worker import methods
from accelform_runtime.worker.frames import Frame, Kind, Outgoing
from accelform_runtime.worker.logs import Log
from accelform_runtime.worker.metadata import exactness_metadata, model_metadata
from accelform_runtime.worker.modelled import ModelledFpga, ModelledTimes
from accelform_runtime.worker.question import Question
from accelform_runtime.worker.served import Served

MAX_MESSAGE: Final = 2000
"""Characters of a refusal's text; a status travels in headers, which have to stay short."""
CHECK_SECONDS: Final = 1.0
"""Shortest time between two checks of the model, so that calls on which it fails cost others little."""


@dataclasses.dataclass
class _Call:
    question: Question
    arrival: float
    deadline: float | None
    certified: bool
    done: int = 0
    times: ModelledTimes | None = None
    proofs: list[Exactness] = dataclasses.field(default_factory=list)

    def in_time(self) -> bool:
        return self.deadline is None or time.monotonic() < self.deadline


class Calls:
    """Runs what the front asks for; whatever goes wrong with a call is an answer, and the next call is fine."""

    def __init__(self, fpga: Fpga, served: Served, log: Log, interrupted: Callable[[], bool]) -> None:
        """`interrupted` tells whether the front has sent something since; a certified call then stops."""
        self._fpga = fpga
        self._served = served
        self._log = log
        self._interrupted = interrupted
        self._modelled = ModelledFpga(latency_ms=fpga.bundle.latency_ms, occupancy_ms=fpga.bundle.occupancy_ms)
        self._about = model_metadata(fpga)
        self._under_way: dict[int, _Call] = {}
        self._doubtful = False
        self._checked = 0.0
        if fpga.bundle.takes_images:
            from accelform_runtime.worker.images import decode  # its decoders would be idle beside a model of tensors

            self._decode = decode

    def answer(self, frame: Frame) -> Outgoing | None:
        """The answer to a frame; None where it wants none."""
        if frame.kind is Kind.DROP:
            self._under_way.pop(frame.id, None)
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
            return self._refuse(frame.id, error, error.status, str(error))
        except Exception as error:
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
        question = methods.read(str(meta["method"]), frame.body, meta.get("spec") or {}, self._served)
        left_ms = meta.get("left_ms")
        return _Call(
            question,
            arrival=now - meta["waited_ms"] / 1000,
            deadline=None if left_ms is None else now + left_ms / 1000,
            certified=bool(meta.get("certified")),
        )

    def _go_on(self, call_id: int, call: _Call) -> Outgoing:
        if not call.in_time():
            raise DeadlinePassed("the call's time was over before all of its inputs were scored")
        if call.question.count == 0:
            return self._finish(call_id, call, ModelledTimes.none())
        value = call.question.value(call.done)
        array = self._decode(value)[None] if isinstance(value, bytes) else value
        if call.certified:
            result, proof = self._fpga.run_certified(array, call.question.names, lambda: self._wanted(call))
            call.proofs.append(proof)
        else:
            result = self._fpga.run(array, call.question.names)
        call.question.add(result)
        call.done += 1
        call.times = self._modelled.submit(call.arrival, call.times)
        if call.done == call.question.count:
            return self._finish(call_id, call, call.times)
        self._under_way[call_id] = call
        return Outgoing(Kind.PROGRESS, call_id, {"done": call.done, "total": call.question.count})

    def _wanted(self, call: _Call) -> bool:
        return call.in_time() and not self._interrupted()

    def _finish(self, call_id: int, call: _Call, times: ModelledTimes) -> Outgoing:
        reply = call.question.answer()
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
            "images": call.question.count,
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
