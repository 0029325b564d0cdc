"""What the soak does to a server: good calls of many sizes, and everything that callers do wrong."""

from __future__ import annotations

import dataclasses
import random
import socket
from collections.abc import Callable
from typing import Final

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accelform_runtime import protocol
from accelform_runtime.protocol import predict_pb2, tensors
from benchmarks.loads import photograph

MEBIBYTE: Final = 1024 * 1024
TIMEOUT_SECONDS: Final = 30
LATE: Final = ("DEADLINE_EXCEEDED", "CANCELLED", "OK")
"""A server whose clock is ahead by a little ends the stream first, which this client calls cancelled."""
SIZES: Final = ((16, 16), (64, 48), (224, 224), (500, 375), (1024, 768))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kind:
    """One thing that callers do."""

    name: str
    weight: int
    expected: tuple[str, ...]
    """Names of the gRPC statuses that are right."""
    call: Callable[[], str]
    """Does it and returns the status."""


class Caller:
    """One caller with its connection, its key and what it may send."""

    def __init__(self, target: str, key: str, seed: int) -> None:
        self._target, self._key, self._random = target, key, random.Random(seed)
        self._images = [photograph(width, height) for width, height in SIZES]
        self._tensor = _request(np.zeros((1, 8 * MEBIBYTE // 4), np.float32))
        self._too_long = _request(np.zeros((1, 17 * MEBIBYTE // 4), np.float32))
        self._channel = self._connect()
        invalid, exhausted = ("INVALID_ARGUMENT",), ("RESOURCE_EXHAUSTED",)
        self.kinds: Final = (
            Kind(name="image", weight=60, expected=("OK",), call=self._image),
            Kind(name="batch of images", weight=4, expected=("OK",), call=self._batch),
            Kind(name="damaged image", weight=6, expected=invalid, call=self._damaged),
            Kind(name="no image", weight=4, expected=invalid, call=lambda: self._predict(_strings([b"text"]))),
            Kind(name="tensor of 8 MiB", weight=1, expected=invalid, call=lambda: self._predict(self._tensor)),
            Kind(name="message too long", weight=1, expected=exhausted, call=lambda: self._predict(self._too_long)),
            Kind(name="garbage", weight=3, expected=invalid, call=lambda: self._predict(b"\xff" * 100)),
            Kind(name="unknown model", weight=3, expected=("NOT_FOUND",), call=self._unknown),
            Kind(name="wrong key", weight=4, expected=("UNAUTHENTICATED",), call=self._wrong_key),
            Kind(name="cancelled", weight=5, expected=("CANCELLED", "OK"), call=self._cancel),
            Kind(name="deadline missed", weight=5, expected=LATE, call=self._late),
            Kind(name="new connection", weight=4, expected=("OK",), call=self._new_connection),
            Kind(name="broken connection", weight=3, expected=("OK",), call=self._broken_connection),
            Kind(name="health", weight=5, expected=("OK",), call=self._health),
        )

    def next(self) -> Kind:
        """What to do now."""
        return self._random.choices(self.kinds, [kind.weight for kind in self.kinds])[0]

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def _connect(self) -> grpc.Channel:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        return grpc.insecure_channel(self._target, options=options)

    def _metadata(self, key: str = "") -> tuple[tuple[str, str], ...]:
        return ((protocol.AUTHORIZATION_KEY, f"Bearer {key or self._key}"),)

    def _predict(
        self, message: bytes, *, key: str = "", timeout: float = TIMEOUT_SECONDS, channel: grpc.Channel | None = None
    ) -> str:
        call = (channel or self._channel).unary_unary(protocol.PREDICT)
        return _status(lambda: call(message, metadata=self._metadata(key), timeout=timeout))

    def _one(self) -> bytes:
        return self._random.choice(self._images)

    def _image(self) -> str:
        return self._predict(_strings([self._one()]))

    def _batch(self) -> str:
        return self._predict(_strings([self._one() for _ in range(self._random.randint(2, 6))]))

    def _damaged(self) -> str:
        image = self._one()
        return self._predict(_strings([image[: self._random.randint(4, len(image) // 2)]]))

    def _unknown(self) -> str:
        request = predict_pb2.PredictRequest.FromString(_strings([self._images[0]]))
        request.model_spec.name = f"model-{self._random.randint(0, 10**9)}"
        return self._predict(bytes(request.SerializeToString()))

    def _wrong_key(self) -> str:
        return self._predict(_strings([self._images[0]]), key="wrong" + "x" * self._random.randint(5, 40))

    def _cancel(self) -> str:
        call = self._channel.unary_unary(protocol.PREDICT)
        future = call.future(_strings([self._one()]), metadata=self._metadata(), timeout=TIMEOUT_SECONDS)
        try:
            future.result(timeout=self._random.uniform(0, 0.004))
        except grpc.FutureTimeoutError:
            future.cancel()
        except (grpc.RpcError, grpc.FutureCancelledError):
            pass
        return str(future.code().name)

    def _late(self) -> str:
        return self._predict(_strings([self._one()]), timeout=self._random.uniform(0.0002, 0.003))

    def _new_connection(self) -> str:
        with self._connect() as channel:
            return self._predict(_strings([self._images[0]]), channel=channel)

    def _broken_connection(self) -> str:
        host, _, port = self._target.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(self._random.randrange(256) for _ in range(40))
            connection.sendall(begin[: self._random.randint(1, len(begin))])
        return "OK"

    def _health(self) -> str:
        stub = health_pb2_grpc.HealthStub(self._channel)
        return _status(lambda: stub.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS))


def _status(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def _strings(values: list[bytes]) -> bytes:
    return _request(np.array(values, dtype=np.object_))


def _request(values: np.ndarray) -> bytes:
    request = predict_pb2.PredictRequest()
    tensor = tensors.from_numpy(values)
    if values.dtype == np.float32:
        del tensor.float_val[:]
        tensor.tensor_content = values.tobytes()
    request.inputs["images"].CopyFrom(tensor)
    return bytes(request.SerializeToString())
