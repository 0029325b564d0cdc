"""The resident model swapped again and again under load: no call may fail, none wait long, no memory may stay."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import grpc

from accelform_runtime.protocol import management_pb2
from benchmarks import generator, loads, small_network
from benchmarks.generator import Job
from benchmarks.goals import at_most
from benchmarks.processes import census
from benchmarks.rounds import percentile, spread
from benchmarks.service import CLIENT, THREADS, Server, channel_to, served

SWAPS = 200
CLIENTS = 2
STEADY_SECONDS = 8.0
LONGEST_SECONDS = 600.0
NAMES = ("small-a", "small-b")
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
SETTLE_SECONDS = 2.0


def run() -> dict[str, Any]:
    """SWAPS swaps between two small models under CLIENTS clients, steady before and afterwards."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        load = loads.make("small", folder / "bundles")
        root = folder / "models"
        for name in NAMES:
            small_network.bundle(root / name, name)
        with served(folder / "server", load, model_root=str(root)) as server:
            _reload(server, root, NAMES[1])
            _settle()
            before_memory = census(server.pid)
            before = server.load(seconds=STEADY_SECONDS, clients=CLIENTS)
            running = generator.start(_job(server))
            try:
                took = [_reload(server, root, NAMES[number % 2]) for number in range(SWAPS)]
            finally:
                running.terminate()
            during = generator.finish(running)
            _settle()
            after_memory = census(server.pid)
            after = server.load(seconds=STEADY_SECONDS, clients=CLIENTS)
    steady = percentile([*before.milliseconds, *after.milliseconds], 99)
    swapping = percentile(during.milliseconds, 99)
    grown = after_memory.rss_mib / before_memory.rss_mib
    return {
        "load": load.what,
        "client": f"{CLIENTS} of them, {CLIENT}",
        "threads": THREADS,
        "swaps": SWAPS,
        "swap_ms": spread(took, 1),
        "calls_during_swaps": during.ok,
        "failed_calls": during.failed,
        "problems": dict(during.problems),
        "steady_p50_ms": round(statistics.median([*before.milliseconds, *after.milliseconds]), 3),
        "steady_p99_ms": round(steady, 3),
        "during_p50_ms": round(statistics.median(during.milliseconds), 3),
        "during_p99_ms": round(swapping, 3),
        "during_longest_ms": round(max(during.milliseconds), 3),
        "before": {"rss_mib": before_memory.rss_mib, "files": before_memory.files, "threads": before_memory.threads},
        "after": {"rss_mib": after_memory.rss_mib, "files": after_memory.files, "threads": after_memory.threads},
        "goals": [
            at_most("calls that failed", sum(during.failed.values()), 0),
            at_most("p99 while swapping over steady", swapping / steady, 2.0),
            at_most("memory after the swaps over before", grown, 1.1),
        ],
    }


def _job(server: Server) -> Job:
    fields = {"clients": CLIENTS, "seconds": LONGEST_SECONDS, "warm_up": 1}
    return Job(**{**vars(server.job), **fields})


def _reload(server: Server, root: Path, name: str) -> float:
    """Milliseconds until the model `name` is the resident. Raises RuntimeError when it does not become it."""
    request = management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name=name, base_path=str(root / name))
    started = time.perf_counter()
    with channel_to(server) as channel:
        call = channel.unary_unary(
            RELOAD,
            request_serializer=management_pb2.ReloadConfigRequest.SerializeToString,
            response_deserializer=management_pb2.ReloadConfigResponse.FromString,
        )
        try:
            reply = call(request, metadata=tuple(server.job.metadata.items()), timeout=60)
        except grpc.RpcError as error:
            raise RuntimeError(f"{name} did not become the resident: {error.code().name}: {error.details()}") from error
    if reply.status.error_code:
        raise RuntimeError(f"{name} did not become the resident: {reply.status.error_message}")
    return (time.perf_counter() - started) * 1000


def _settle() -> None:
    """Lets processes that were told to leave do so before memory is counted."""
    time.sleep(SETTLE_SECONDS)
