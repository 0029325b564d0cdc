"""PyTriton: Triton's gRPC front in C++, the model in a Python process behind shared memory."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from benchmarks.serving_peers.pipeline import Pipeline, port
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig


def main() -> None:
    """Serves one model: an encoded image as a row of UINT8, or the tensor as FP32; no batching."""
    pipeline = Pipeline.from_environment()

    def infer(requests: list[Any]) -> list[Any]:
        answers = []
        for request in requests:
            value = request["value"]
            output = pipeline.answer(value.data) if pipeline.takes_images else pipeline.run(value)
            answers.append({"scores": output})
        return answers

    taken = Tensor(name="value", dtype=np.uint8 if pipeline.takes_images else np.float32, shape=(-1,))
    if not pipeline.takes_images:
        taken = Tensor(name="value", dtype=np.float32, shape=(1, 224, 224, 3))
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=port(),
        http_address="127.0.0.1",
        http_port=port() + 1,
        metrics_port=port() + 2,
        allow_metrics=False,
        log_verbose=0,
    )
    with Triton(config=config, workspace=os.environ.get("BENCHMARK_WORKSPACE")) as triton:
        triton.bind(
            model_name="model",
            infer_func=infer,
            inputs=[taken],
            outputs=[Tensor(name="scores", dtype=np.float32, shape=(-1, -1))],
            config=ModelConfig(batching=False),
        )
        triton.serve()


if __name__ == "__main__":
    main()
