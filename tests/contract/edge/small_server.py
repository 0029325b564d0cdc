"""The server inside the images of these tests: gRPC health, the device lock and the exit codes of the real one.

It has no model, so it starts at once, and `model/behaviour.json` makes it fail in ways that the real one hardly can.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def say(**entry: object) -> None:
    print(json.dumps(entry), file=sys.stderr, flush=True)


def status_of(code: grpc.StatusCode) -> grpc.GenericRpcHandler:
    """GetModelStatus, which a call with a key gets as far as its question is empty."""

    def refuse(_: bytes, context: grpc.ServicerContext) -> bytes:
        context.abort(code, "as the test says")
        return b""

    method = grpc.unary_unary_rpc_method_handler(refuse)
    return grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": method})


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--config", type=Path)
    given = parser.parse_args()
    config = json.loads(given.config.read_text())
    behaviour = json.loads((given.model_dir / "behaviour.json").read_text())
    say(event="starting", environment=sorted(os.environ), module_path=__file__)
    if behaviour.get("exit_code") is not None:
        say(event="error", message=behaviour["last_words"])
        return int(behaviour["exit_code"])
    lock = open(config["device_lock_file"], "a+")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say(event="error", message="the FPGA is busy")
        return 2
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    server = grpc.server(futures.ThreadPoolExecutor(4), options=(("grpc.so_reuseport", 0),))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    try:
        host = config["listen_address"]
        server.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{config['port']}")
    except RuntimeError:
        say(event="error", message=f"port {config['port']} is in use")
        return 2
    status = health_pb2.HealthCheckResponse.NOT_SERVING if behaviour.get("never_serving") else 1
    servicer.set("", status)
    refusal = grpc.StatusCode.UNAUTHENTICATED if behaviour.get("keeps_old_keys") else grpc.StatusCode.INVALID_ARGUMENT
    server.add_generic_rpc_handlers((status_of(refusal),))
    server.start()
    say(event="serving", label=behaviour["label"])
    stop.wait()
    time.sleep(behaviour.get("stop_seconds", 0))
    server.stop(0.2).wait()
    say(event="stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
