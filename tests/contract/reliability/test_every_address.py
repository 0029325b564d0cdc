"""All addresses of a machine at once, as in a container: every door is there, and `--check` agrees."""

from __future__ import annotations

import subprocess

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.contract.runtime.conftest import azureml_metadata, command
from tests.support.ports import free_port
from tests.support.side_door import SideDoor

from accelform_runtime.protocol import PREDICT

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("listen", "hosts"), [("0.0.0.0", ["127.0.0.1"]), ("::", ["127.0.0.1", "[::1]"])], ids=["IPv4", "both"]
)
def test_every_door(launched, bundle, image, request_of, eventually, listen, hosts):
    """gRPC, HTTP and probes answer on each address, and a check of the same settings beside the server is fine."""
    probes = free_port()
    own = launched(
        env={"PATH": ""}, listen_address=listen, http_enabled=True, http_port=0, health_port=probes, metrics_open=True
    )
    eventually(lambda: own.events("serving"), "serving")
    port, http = own.events("listening")[0]["port"], own.events("listening_http")[0]["port"]

    for host in hosts:
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            assert channel.unary_unary(PREDICT)(request_of(image()), metadata=azureml_metadata(), timeout=20)
        with grpc.insecure_channel(f"{host}:{probes}") as channel:
            request = health_pb2.HealthCheckRequest(service="live")
            assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=10).status == SERVING
    assert SideDoor(http).ask("/readyz").status == 200
    checked = subprocess.run(
        [*command(bundle, own.folder / "service.json"), "--check"],
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout
    assert "wrong" not in checked.stdout
    assert own.terminate() == 0
