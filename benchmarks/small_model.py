"""What a call costs besides the model: a network of about a millisecond behind the server, next to its bare session.

python -m benchmarks.small_model
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from accelform_runtime.client import PredictionClient
from accelform_runtime.device import Fpga
from accelform_runtime.keys import generate_key, write_key_file
from accelform_runtime.server import images
from accelform_runtime.server.config import ServiceConfig
from benchmarks import machine
from benchmarks.measure import interleaved, summarise

ROUNDS = 1000
LAYERS = 4
WIDTH = 256
_PORT_LINE = '"event": "listening"'


def run() -> dict[str, Any]:
    """p50 and p99 of the session, of decode and session, and of the whole call; and what the call adds to each."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as name:
        bundle = _bundle(Path(name) / "model")
        device = Fpga(bundle)
        device.warm_up()
        data = _image()
        pixels = images.decode(data)[None]
        key = generate_key()
        with _service(Path(name), bundle, key) as client:
            calls = {
                "bare_session": lambda: device.run(pixels),
                "bare_pipeline": lambda: device.run(images.decode(data)[None]),
                "service": lambda: client.score_image(data),
            }
            seconds = interleaved(calls, rounds=ROUNDS, warm_up=50)
    summaries = {label: summarise(values) for label, values in seconds.items()}
    return {
        "threads": device.threads,
        **{label: summary.as_dict() for label, summary in summaries.items()},
        "p50_over_bare_session_ms": round(summaries["service"].median_ms - summaries["bare_session"].median_ms, 3),
        "p50_over_bare_pipeline_ms": round(summaries["service"].median_ms - summaries["bare_pipeline"].median_ms, 3),
    }


def _image() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _bundle(folder: Path) -> Path:
    folder.mkdir()
    model = _model()
    (folder / "model.onnx").write_bytes(model)
    description = {
        "schema": 1,
        "name": "small",
        "version": "1",
        "family": "small",
        "number_format": "float32",
        "method_name": "tensorflow/serving/predict",
        "inputs": [{"name": "in:0", "alias": "images", "encoding": "image", "dtype": "DT_STRING", "shape": [-1]}],
        "outputs": [{"name": "out:0", "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, WIDTH]}],
        "labels": [],
        "estimate": {"latency_ms": 1.0, "occupancy_ms": 1.0},
        "files": {"model.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}},
    }
    (folder / "bundle.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def _model() -> bytes:
    # One small matrix for all layers: weights that fill the cache would measure whose copy is in it.
    random = np.random.default_rng(0)
    weights = {
        "axes": np.array([1, 2], np.int64),
        "rows": np.array([0], np.int64),
        "w0": random.normal(size=(3, WIDTH)).astype(np.float32),
        "spread": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "w": (random.normal(size=(WIDTH, WIDTH)) / WIDTH).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["in:0"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "w0"], ["colour"]),
        helper.make_node("Mul", ["colour", "spread"], ["h0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"h{layer}", "w"], [f"h{layer + 1}"]) for layer in range(LAYERS)]
    nodes.append(helper.make_node("ReduceMean", [f"h{LAYERS}", "rows"], ["scores"]))
    nodes.append(helper.make_node("Softmax", ["scores"], ["out:0"]))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("in:0", TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info("out:0", TensorProto.FLOAT, [1, WIDTH])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@contextmanager
def _service(folder: Path, bundle: Path, key: str) -> Iterator[PredictionClient]:
    write_key_file(folder / "keys.json", [key])
    config = ServiceConfig(
        name="small", port=0, keys_file=str(folder / "keys.json"), device_lock_file=str(folder / "fpga.json")
    )
    config.write(folder / "service.json")
    command = [sys.executable, "-m", "accelform_runtime.server", "--model-dir", str(bundle)]
    log = folder / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "--config", str(folder / "service.json")], stderr=stream)
    try:
        while _PORT_LINE not in log.read_text() and process.poll() is None:
            pass
        port = next(json.loads(line)["port"] for line in log.read_text().splitlines() if _PORT_LINE in line)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            states = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60)
            next(state for state in states if state.status == health_pb2.HealthCheckResponse.SERVING)
        with PredictionClient("127.0.0.1", port, access_token=key) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    print(json.dumps({"machine": machine.describe(), "small_model": run()}, indent=2))
