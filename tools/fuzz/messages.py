"""Requests over gRPC: the first byte chooses method and model, the others are the message."""

from __future__ import annotations

from tools.fuzz.driver import fuzz, instrumented

with instrumented(__name__):
    from tools.fuzz.models import REFUSALS, SERVED, answer

    from accelform_runtime.worker import inference, methods, predict

METHODS = tuple(methods.GRPC)


def check(data: bytes) -> None:
    """Raises where a request is neither answered nor refused."""
    if not data:
        return
    method, served = METHODS[data[0] % len(METHODS)], SERVED[data[0] // len(METHODS) % len(SERVED)]
    try:
        reply = answer(methods.read(method, memoryview(data)[1:], {}, served))
    except REFUSALS:
        return
    assert reply


IMPORTED_TO_BE_LOOKED_INTO = (inference, predict)

if __name__ == "__main__":
    fuzz(check, "messages")
