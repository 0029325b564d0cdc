"""What the server adds: a call over gRPC on loopback, key and all, next to the bare session on the same image."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from accelform_runtime.client import PredictionClient
from accelform_runtime.device import Fpga
from accelform_runtime.keys import generate_key, write_key_file
from accelform_runtime.server.config import ServiceConfig
from benchmarks.bundles import IMAGE, converted
from benchmarks.measure import interleaved, ratio, summarise

ROUNDS = 200
PORT = 50992


def run() -> dict[str, Any]:
    """p50 and p99 of the bare session, of the bare pipeline with its decode, and of the service; interleaved."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as name:
        folder = Path(name)
        bundle = converted(folder, "bw-a10-cnn")
        device = Fpga(bundle)
        device.warm_up()
        pixels = _decode()
        key = generate_key()
        with _service(folder, bundle, key) as client:
            calls = {
                "bare_session": lambda: device.run(pixels),
                "bare_pipeline": lambda: device.run(_decode()),
                "service": lambda: client.score_file(IMAGE),
            }
            seconds = interleaved(calls, rounds=ROUNDS, warm_up=10)
    return {
        "threads": device.threads,
        **{label: summarise(values).as_dict() for label, values in seconds.items()},
        "service_over_bare_session": ratio(seconds["service"], seconds["bare_session"]),
        "service_over_bare_pipeline": ratio(seconds["service"], seconds["bare_pipeline"]),
        "p99_over_bare_session": round(
            summarise(seconds["service"]).p99_ms / summarise(seconds["bare_session"]).p99_ms, 4
        ),
    }


def _decode() -> np.ndarray:
    return np.asarray(Image.open(IMAGE).convert("RGB"), dtype=np.uint8)[None]


@contextmanager
def _service(folder: Path, bundle: Path, key: str) -> Iterator[PredictionClient]:
    """A server process with the bundle, and a client that has its key."""
    write_key_file(folder / "keys.json", [key])
    config = ServiceConfig(
        name="benchmark", port=PORT, keys_file=str(folder / "keys.json"), device_lock_file=str(folder / "fpga.lock")
    )
    config.write(folder / "service.json")
    command = [sys.executable, "-m", "accelform_runtime.server", "--model-dir", str(bundle)]
    process = subprocess.Popen([*command, "--config", str(folder / "service.json")], stderr=subprocess.DEVNULL)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{PORT}") as channel:
            request = health_pb2.HealthCheckRequest()
            answer = health_pb2_grpc.HealthStub(channel).Check(request, wait_for_ready=True, timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with PredictionClient("127.0.0.1", PORT, access_token=key, service_name="benchmark") as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)
