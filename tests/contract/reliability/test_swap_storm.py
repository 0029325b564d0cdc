"""One swap after the other under load."""

from __future__ import annotations

import os

import grpc
import numpy as np
import onnx
import pytest
from grpc import StatusCode
from onnx import numpy_helper
from tests.contract.runtime.conftest import tiny_model, write_bundle
from tests.support.census import Census, children, resident_kib
from tests.support.reloads import reloading

from accelform_runtime.protocol import PREDICT, predict_pb2

SWAPS = int(os.environ.get("ACCELFORM_SWAPS", "20"))
CALLS = 60
"""Calls that are answered from one swap to the next, at least."""
SETTLED = SWAPS // 2
"""Swaps after which memory is what it will be."""


def other_model() -> bytes:
    """The tiny model with another projection, so that its answers differ."""
    model = onnx.load_from_string(tiny_model())
    for index, weights in enumerate(model.graph.initializer):
        if weights.name == "projection":
            turned = np.flip(numpy_helper.to_array(weights), axis=1).copy()
            model.graph.initializer[index].CopyFrom(numpy_helper.from_array(turned, "projection"))
    return bytes(model.SerializeToString())


@pytest.mark.timeout(60 + 10 * SWAPS)
def test_swap_storm(start, tmp_path, image, request_of, eventually, callers):
    """Swaps under load fail no call; each answer is that of the version it names; nothing is left of the others."""
    root = tmp_path / "models"
    write_bundle(root / "3", version="3")
    write_bundle(root / "4", other_model(), version="4")
    own = start(model_folder=root / "3", model_root=str(root))
    message = request_of(image(2))

    def scores(reply: bytes) -> tuple[int, tuple[float, ...]]:
        found = predict_pb2.PredictResponse.FromString(reply)
        return int(found.model_spec.version.value), tuple(round(x, 5) for x in found.outputs["output_alias"].float_val)

    def ask() -> tuple[int, tuple[float, ...]]:
        with grpc.insecure_channel(own.address) as channel:
            metadata = (("authorization", "Bearer primary-key-0123456789abcdef"),)
            return scores(channel.unary_unary(PREDICT)(message, metadata=metadata, timeout=30))

    expected = dict([ask()])
    assert reloading(own, "4").code() is StatusCode.OK
    expected.update([ask()])
    assert set(expected) == {3, 4}
    assert expected[3] != expected[4]

    crowd = callers(own, message, count=2, pause=0.02)
    kib, before = 0, Census.of(own.process.pid)
    for swap in range(SWAPS):
        enough = len(crowd.outcomes) + CALLS
        assert reloading(own, ("3", "4")[swap % 2]).code() is StatusCode.OK
        own.channels.pop().close()
        assert ask()[0] == (3, 4)[swap % 2]
        eventually(lambda enough=enough: len(crowd.outcomes) >= enough, "calls")
        if swap < SETTLED:
            kib = max(kib, resident_kib(own.process.pid))
            before = Census.of(own.process.pid)
    outcomes = crowd.end()

    assert {code for code, _, _ in outcomes} == {StatusCode.OK}
    assert len(outcomes) >= CALLS * SWAPS
    answers = {scores(reply) for _, _, reply in outcomes}
    assert answers == set(expected.items())
    assert resident_kib(own.process.pid) <= 1.1 * kib
    for channel in own.channels:
        channel.close()
    eventually(lambda: Census.of(own.process.pid).files <= before.files, "files as before")
    eventually(lambda: Census.of(own.process.pid).threads <= before.threads + 2, "threads as before")
    assert len(children(own.process.pid)) == 1
    assert own.terminate() == 0
