"""A cluster that says what a real one once said, and a server that stands for the pods behind its address."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.ports import free_port

from accelform.errors import ClusterUnreachable
from accelform.targets.kubernetes.gate import Gate, Wish
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, EVENTS, NODES, PODS, REPLICA_SETS, SERVICES, Kind

RECORDED = Path(__file__).parents[2] / "unit" / "kubernetes" / "data"
OWNER = "a/b/webservice"


class Cluster:
    """Answers reads from `seen`, which a test replaces as time goes on; notes every patch."""

    def __init__(self, port: int) -> None:
        self.seen: dict[str, Any] = {}
        self.port = port
        self.patches: list[tuple[str, str]] = []
        self.silent_for = 0
        self.words: list[str] = []
        self.on_patch: Callable[[], None] = lambda: None

    def say(self, case: str) -> Cluster:
        self.seen = json.loads((RECORDED / f"{case}.json").read_text())
        return self

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __str__(self) -> str:
        return "cluster 'recorded'"

    def get(self, kind: Kind, name: str, *, namespace: str = "") -> dict[str, Any] | None:
        if self.silent_for:
            self.silent_for -= 1
            raise ClusterUnreachable("cluster 'recorded' does not answer")
        if kind is SERVICES:
            ports = [{"name": "grpc", "port": 50051, "nodePort": self.port}]
            return {"metadata": {"name": name, "namespace": namespace}, "spec": {"type": "NodePort", "ports": ports}}
        assert kind is DEPLOYMENTS
        return copy.deepcopy(self.seen.get("deployment"))

    def list(
        self, kind: Kind, *, namespace: str = "", label_selector: str = "", field_selector: str = ""
    ) -> Sequence[Any]:
        if kind is NODES:
            status = {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            }
            return [{"metadata": {"name": "node-1"}, "status": status}]
        key = {REPLICA_SETS: "replica_sets", PODS: "pods", EVENTS: "events"}[kind]
        return copy.deepcopy(self.seen[key])

    def patch(self, kind: Kind, name: str, patch: Any, *, namespace: str = "", subresource: str = "") -> dict[str, Any]:
        self.patches.append((kind.plural, name))
        self.on_patch()
        return {}

    def log(
        self, pod: str, *, namespace: str, container: str = "", previous: bool = False, lines: int = 50
    ) -> Sequence[str]:
        return self.words if previous else []


class Pods(health_pb2_grpc.HealthServicer):
    """One gRPC server: health, and calls that need one of `keys`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.keys = {"key-primary", "key-secondary"}
        self.status = health_pb2.HealthCheckResponse.SERVING
        self._server = grpc.server(ThreadPoolExecutor(4))
        health_pb2_grpc.add_HealthServicer_to_server(self, self._server)
        ask = grpc.unary_unary_rpc_method_handler(self._ask)
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": ask})]
        )
        self.credentials: grpc.ServerCredentials | None = None

    def start(self) -> None:
        if self.credentials:
            self._server.add_secure_port(f"127.0.0.1:{self.port}", self.credentials)
        else:
            self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        return health_pb2.HealthCheckResponse(status=self.status)

    def _ask(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        key = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
        if key not in self.keys:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
        context.abort(grpc.StatusCode.NOT_FOUND, "no model named ''")
        return b""


@pytest.fixture
def pods() -> Iterator[Pods]:
    pods = Pods()
    yield pods
    pods.stop()


@pytest.fixture
def cluster(pods: Pods) -> Cluster:
    return Cluster(pods.port)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def gate(cluster: Cluster, told: list[str]) -> Gate:
    return Gate(connect=lambda: cluster, progress=told.append)  # type: ignore[arg-type,return-value]


@pytest.fixture
def wish(cluster: Cluster) -> Callable[..., Wish]:
    """The wish that what the cluster says now fulfils, with changes."""

    def make(**changes: Any) -> Wish:
        deployment = cluster.seen["deployment"]
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        given = {
            "name": deployment["metadata"]["name"],
            "namespace": "vision",
            "owner": OWNER,
            "image_location": image,
            "resource_name": "microsoft.com/fpga_catapult",
            "pool": "westus2-pool",
            "keys": ("key-primary", "key-secondary"),
            **changes,
        }
        return Wish(**given)

    return make


@pytest.fixture
def later() -> Iterator[Callable[[float, Callable[[], object]], None]]:
    """Calls something after some seconds, unless the test has ended."""
    timers: list[threading.Timer] = []

    def call(seconds: float, what: Callable[[], object]) -> None:
        timers.append(threading.Timer(seconds, what))
        timers[-1].start()

    yield call
    for timer in timers:
        timer.cancel()
        timer.join()
