"""The port for a kubelet's probes: health alone, in plain text and without a key, whatever the main port asks for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import trustme
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.support.census import worker_of
from tests.support.ports import free_port

from accelform_runtime.protocol import PREDICT

SLOW = 255
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
NAMES = ["", "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"]
LIVE = "live"


@dataclass
class Probes:
    """A service with a health port, as a kubelet asks it."""

    service: Any
    port: int
    channel: grpc.Channel

    def ask(self, name: str = "") -> int:
        """One Check."""
        request = health_pb2.HealthCheckRequest(service=name)
        return int(health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=5, wait_for_ready=True).status)


@pytest.fixture
def probed(start) -> Any:
    """probed(ready=True, **settings): a service with a health port."""
    channels = []

    def run(**settings: Any) -> Probes:
        port = free_port()
        service = start(health_port=port, **settings)
        channels.append(grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]))
        return Probes(service, port, channels[-1])

    yield run
    for channel in channels:
        channel.close()


def locked(tmp_path) -> tuple[dict[str, str], trustme.CA]:
    """Settings of a service that wants TLS, a client's certificate and a key, and its authority."""
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    (tmp_path / "tls.pem").chmod(0o600)
    authority.cert_pem.write_to_path(tmp_path / "client_ca.pem")
    pem = str(tmp_path / "tls.pem")
    files = {"ssl_cert_pem_file": pem, "ssl_key_pem_file": pem}
    return {**files, "ssl_client_ca_pem_file": str(tmp_path / "client_ca.pem")}, authority


def test_health_beside_a_locked_door(probed, tmp_path, eventually, image, request_of, azureml):
    """Where the main port wants TLS, a client's certificate and a key, probes need none of them and learn the same."""
    settings, authority = locked(tmp_path)
    probes = probed(ready=False, **settings)
    eventually(lambda: probes.service.events("serving"), "serving")

    assert {name: probes.ask(name) for name in [*NAMES, LIVE]} == dict.fromkeys([*NAMES, LIVE], SERVING)
    with pytest.raises(grpc.RpcError) as unknown:
        probes.ask("digits")
    assert unknown.value.code() is StatusCode.NOT_FOUND

    port = probes.service.events("listening")[0]["port"]
    own = authority.issue_cert("client")
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(), own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes()
    )
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        for name in NAMES:
            request = health_pb2.HealthCheckRequest(service=name)
            assert health_pb2_grpc.HealthStub(channel).Check(request, timeout=5).status == SERVING
        with pytest.raises(grpc.RpcError) as live:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=LIVE), timeout=5)
        assert live.value.code() is StatusCode.NOT_FOUND
        assert channel.unary_unary(PREDICT)(request_of(image()), metadata=azureml(), timeout=20)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)


def test_nothing_but_health(probed, image, request_of, azureml):
    """Predictions, model management and reflection are not there on the plain port, with a key or without."""
    probes = probed(http_enabled=True, http_port=0)
    methods = [
        PREDICT,
        "/tensorflow.serving.PredictionService/GetModelMetadata",
        "/tensorflow.serving.ModelService/GetModelStatus",
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Nothing",
        "/",
    ]
    for method in methods:
        for metadata in ((), azureml()):
            with pytest.raises(grpc.RpcError) as refused:
                probes.channel.unary_unary(method)(request_of(image()), metadata=metadata, timeout=5)
            assert refused.value.code() is StatusCode.UNIMPLEMENTED, method

    with pytest.raises(grpc.RpcError) as long:
        probes.ask("x" * 5000)
    assert long.value.code() is StatusCode.RESOURCE_EXHAUSTED
    assert probes.service.events("request") == []
    assert [line["port"] for line in probes.service.events("listening_health")] == [probes.port]


def test_no_port_unless_asked(service):
    """Without health_port there is no third door."""
    assert service.events("listening_health") == []


def states(probes: Probes) -> tuple[int, int]:
    """What a readiness probe and a liveness probe learn."""
    return probes.ask(), probes.ask(LIVE)


def test_loading_restarting_draining(probed, eventually, image, request_of):
    """Ready follows the model and the stop; live stays while the model loads, comes back, or finishes its calls."""
    probes = probed(ready=False, lame_duck_seconds=1.0, drain_seconds=20.0)
    assert probes.ask(LIVE) == SERVING
    eventually(lambda: probes.service.events("serving"), "serving")
    probes.service.port = probes.service.events("listening")[0]["port"]
    assert states(probes) == (SERVING, SERVING)

    worker = worker_of(probes.service, eventually)
    os.kill(worker, signal.SIGKILL)
    eventually(lambda: states(probes) == (NOT_SERVING, SERVING), "not ready, still live")
    eventually(lambda: states(probes) == (SERVING, SERVING), "ready again")

    call = probes.service.begin(request_of(*[image(SLOW)] * 4))
    probes.service.process.send_signal(signal.SIGTERM)
    eventually(lambda: probes.ask() == NOT_SERVING, "not ready", seconds=2)
    while not call.done() and probes.service.process.poll() is None:
        try:
            assert states(probes) == (NOT_SERVING, SERVING)
        except grpc.RpcError:
            break  # the call is answered and the process about to leave
    assert call.code() is StatusCode.OK
    assert probes.service.process.wait(180) == 0


def test_stuck_for_good(probed, bundle, tmp_path, eventually):
    """A model that cannot be loaded again ends live, seen by a probe and by a watcher; live returns with the model."""
    copy = tmp_path / "model"
    shutil.copytree(bundle, copy)
    probes = probed(model_folder=copy)
    watch = health_pb2_grpc.HealthStub(probes.channel).Watch(health_pb2.HealthCheckRequest(service=LIVE), timeout=200)
    assert next(watch).status == SERVING
    (copy / "model.onnx").rename(copy / "away")
    os.kill(worker_of(probes.service, eventually), signal.SIGKILL)

    eventually(lambda: len(probes.service.events("restart")) >= 3, "failed restarts")
    assert states(probes) == (NOT_SERVING, SERVING)
    eventually(lambda: probes.ask(LIVE) == NOT_SERVING, "the end of live", seconds=120)
    assert next(watch).status == NOT_SERVING
    assert len(probes.service.events("restart")) >= 8

    (copy / "away").rename(copy / "model.onnx")
    eventually(lambda: states(probes) == (SERVING, SERVING), "the model's return", seconds=60)
    assert next(watch).status == SERVING
    watch.cancel()


def test_taken_port(start, eventually):
    """A health port that somebody has is exit code 2 and one line that names it."""
    first = start()

    second = start(ready=False, health_port=first.port)

    assert second.process.wait(180) == 2
    (line,) = second.events("error")
    assert line["kind"] == "AddressUnavailable"
    assert f"127.0.0.1:{first.port}" in line["message"]


def test_idle_strangers(probed):
    """Connections that say nothing take no place from a probe for longer than a handshake may last."""
    probes = probed(handshake_timeout_seconds=1.0)
    idle: list[socket.socket] = []
    try:
        for _ in range(200):
            idle.append(socket.create_connection(("127.0.0.1", probes.port), timeout=5))
        assert probes.ask(LIVE) == SERVING
    finally:
        for each in idle:
            each.close()
