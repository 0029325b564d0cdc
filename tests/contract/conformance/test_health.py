"""Health checks by gRPC's protocol, as Kubernetes, load balancers and clients make them."""

from __future__ import annotations

import contextlib

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVED = ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]
SERVING, UNKNOWN = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def health(request, server):
    return health_pb2_grpc.HealthStub(server("keys", tls=request.param).channel())


@pytest.mark.parametrize("name", SERVED)
def test_check(health, name):
    """The server and both of its services say SERVING, to anybody."""
    assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status == SERVING


def test_check_of_an_unknown_service(health):
    """A service that is not there is NOT_FOUND."""
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="another"), timeout=5)

    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(("name", "status"), [*((name, SERVING) for name in SERVED), ("another", UNKNOWN)])
def test_watch_begins_with_the_present_state(health, name, status):
    """A watcher is told at once how things are, also that a service is not there."""
    watch = health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=10)

    assert next(watch).status == status
    watch.cancel()


def test_watch_tells_the_end(start):
    """A watcher learns that the server is about to stop, and its stream ends."""
    service = start(lame_duck_seconds=0.5)
    stub = health_pb2_grpc.HealthStub(service.channel())
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=SERVED[1]), timeout=30)
    assert next(watch).status == SERVING

    service.process.terminate()

    assert next(watch).status == NOT_SERVING
    with contextlib.suppress(grpc.RpcError):  # how the stream ends is up to the server
        assert list(watch) == []
    assert service.process.wait(180) == 0
