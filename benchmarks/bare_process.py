"""The model without a server, in a process of its own: what every server is measured against.

    python -m benchmarks.bare_process session MODEL THREADS VALUE      a bare onnxruntime session
    python -m benchmarks.bare_process fpga BUNDLE THREADS VALUE        the runtime's device, as it is served

It says `ready` once the model is warm, then does what each line of its input says and answers with one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Call = Callable[[], object]
READY = "ready"


def calls(kind: str, model: Path, threads: int, value: bytes) -> dict[str, Call]:
    """The model on a ready array, and the whole of a call's work: decode, run, pack."""
    import numpy as np

    from accelform_runtime.protocol import predict_pb2, tensors
    from accelform_runtime.worker import images
    from benchmarks.serving_peers.pipeline import TENSOR_SHAPE, Pipeline

    run: Callable[[np.ndarray], np.ndarray]
    if kind == "session":
        pipeline = Pipeline(model, threads)
        run, takes_images = pipeline.run, pipeline.takes_images
    else:
        from accelform_runtime.device import Fpga

        device = Fpga(model, threads=threads)
        device.warm_up()
        takes_images = device.bundle.takes_images

        def run(value: np.ndarray) -> np.ndarray:
            return next(iter(device.run(value).values()))

    def read() -> np.ndarray:
        if takes_images:
            return images.decode(value)[None]
        return np.frombuffer(value, np.float32).reshape(TENSOR_SHAPE)

    def whole() -> bytes:
        response = predict_pb2.PredictResponse()
        response.outputs["output"].CopyFrom(tensors.from_float32(run(read())))
        return bytes(response.SerializeToString())

    ready = read()
    return {"session": lambda: run(ready), "pipeline": whole}


def main(kind: str, model: str, threads: str, value: str) -> None:
    """Serves its standard input."""
    found = calls(kind, Path(model), int(threads), Path(value).read_bytes())
    print(READY, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        call, milliseconds = found[asked["what"]], []
        cpu, began = time.process_time(), time.perf_counter()
        for _ in range(asked["count"]):
            started = time.perf_counter()
            call()
            milliseconds.append((time.perf_counter() - started) * 1000)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        answer = {"milliseconds": milliseconds, "seconds": seconds, "cpu_seconds": cpu}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
