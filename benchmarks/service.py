"""A real server process, and how a call to it is measured next to its bare session."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from accelform_runtime.client import PredictionClient
from accelform_runtime.device import Fpga
from accelform_runtime.keys import generate_key, write_key_file
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.worker import images
from benchmarks.measure import interleaved, ratio, summarise

_LISTENING = '"event": "listening"'
START_SECONDS = 60


def compare(folder: Path, bundle: Path, image: bytes, *, rounds: int) -> dict[str, Any]:
    """The bare session, decode and session, and the whole call with its key, on one image; interleaved.

    The three have the same bundle, threads and session options; `folder` takes the server's files.
    """
    device = Fpga(bundle)
    device.warm_up()
    pixels = images.decode(image)[None]
    with served(folder, bundle) as client:
        seconds = interleaved(
            {
                "bare_session": lambda: device.run(pixels),
                "bare_pipeline": lambda: device.run(images.decode(image)[None]),
                "service": lambda: client.score_image(image),
            },
            rounds=rounds,
            warm_up=max(10, rounds // 20),
        )
    summaries = {label: summarise(values) for label, values in seconds.items()}
    service = summaries["service"]
    return {
        "threads": device.threads,
        **{label: summary.as_dict() for label, summary in summaries.items()},
        **{
            f"service_over_{label}": {
                "p50": ratio(seconds["service"], seconds[label]),
                "p99": round(service.p99_ms / summaries[label].p99_ms, 4),
                "p50_added_ms": round(service.median_ms - summaries[label].median_ms, 3),
            }
            for label in ("bare_session", "bare_pipeline")
        },
    }


@contextmanager
def served(folder: Path, bundle: Path) -> Iterator[PredictionClient]:
    """A server process with `bundle` on a free port, and a client that has its key."""
    key = generate_key()
    write_key_file(folder / "keys.json", [key])
    config = ServiceConfig(
        name="benchmark", port=0, keys_file=str(folder / "keys.json"), device_lock_file=str(folder / "fpga.json")
    )
    config.write(folder / "service.json")
    command = [sys.executable, "-m", "accelform_runtime.server", "--model-dir", str(bundle)]
    log = folder / "server.log"
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "--config", str(folder / "service.json")], stderr=stream)
    try:
        port = _port(log, process)
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = health_pb2.HealthCheckRequest()
            states = health_pb2_grpc.HealthStub(channel).Watch(request, timeout=START_SECONDS)
            next(state for state in states if state.status == health_pb2.HealthCheckResponse.SERVING)
        with PredictionClient("127.0.0.1", port, access_token=key) as client:
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            if _LISTENING in line:
                return int(json.loads(line)["port"])
        time.sleep(0.02)
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")
