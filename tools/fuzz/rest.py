"""Requests in JSON: the first byte chooses method and model, the others are the text."""

from __future__ import annotations

import json

from tools.fuzz.driver import fuzz, instrumented

with instrumented(__name__):
    from tools.fuzz.models import REFUSALS, SERVED, answer

    from accelform_runtime.worker import methods, rest

METHODS = tuple(methods.REST)


def check(data: bytes) -> None:
    """Raises where a request is neither answered in JSON nor refused."""
    if not data:
        return
    method, served = METHODS[data[0] % len(METHODS)], SERVED[data[0] // len(METHODS) % len(SERVED)]
    try:
        reply = answer(methods.read(method, memoryview(data)[1:], {}, served))
    except REFUSALS:
        return
    assert isinstance(json.loads(reply), dict)


IMPORTED_TO_BE_LOOKED_INTO = (rest,)

if __name__ == "__main__":
    fuzz(check, "rest")
