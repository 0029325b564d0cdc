"""The smallest gRPC server in Python, with threads or with asyncio: no keys, no queue, no checks, no health.

    python -m benchmarks.serving_peers.python_grpc.service aio|threads

It stands for what Python's gRPC costs at the least. The model runs in one thread in both.
"""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from accelform_runtime import protocol
from accelform_runtime.protocol import predict_pb2, tensors
from benchmarks.serving_peers.pipeline import Pipeline, port

OPTIONS = (("grpc.max_receive_message_length", 16 * 1024 * 1024), ("grpc.so_reuseport", 0))


def answer(pipeline: Pipeline, message: bytes) -> bytes:
    """A serialised PredictResponse for a serialised PredictRequest."""
    request = predict_pb2.PredictRequest.FromString(message)
    value = request.inputs["images"]
    found = pipeline.answer(value.string_val[0]) if pipeline.takes_images else pipeline.run(tensors.to_numpy(value))
    response = predict_pb2.PredictResponse()
    response.outputs["output"].CopyFrom(tensors.from_float32(np.asarray(found)))
    return bytes(response.SerializeToString())


def handlers(predict: Any) -> grpc.GenericRpcHandler:
    """Predict with messages as bytes."""
    methods = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    return grpc.method_handlers_generic_handler(protocol.PREDICTION_SERVICE, methods)


async def asynchronous(pipeline: Pipeline, address: str) -> None:
    """grpc.aio; the model runs in a thread beside the loop."""
    loop, model = asyncio.get_running_loop(), ThreadPoolExecutor(1)

    async def predict(message: bytes, _: object) -> bytes:
        return await loop.run_in_executor(model, answer, pipeline, message)

    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(predict),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


def threaded(pipeline: Pipeline, address: str) -> None:
    """grpc.server with one thread, which runs the model."""
    server = grpc.server(ThreadPoolExecutor(1), options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(lambda message, _: answer(pipeline, message)),))
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    place, model = f"127.0.0.1:{port()}", Pipeline.from_environment()
    if sys.argv[1:] == ["aio"]:
        asyncio.run(asynchronous(model, place))
    else:
        threaded(model, place)
