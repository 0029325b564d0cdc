"""Speaks the provider protocol to the real plugin process, without the engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.dynamic.dynamic import serialize_provider
from pulumi.runtime import rpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

ROOT = Path(__file__).parents[3]
CALL_TIMEOUT_SECONDS = 60


class Plugin:
    """One plugin process; every call goes over gRPC as the engine would send it."""

    def __init__(self, port: int) -> None:
        self._stub = provider_pb2_grpc.ResourceProviderStub(grpc.insecure_channel(f"127.0.0.1:{port}"))
        self._stub.Configure(provider_pb2.ConfigureRequest(), timeout=CALL_TIMEOUT_SECONDS)

    def check(
        self, provider: Any, news: dict[str, Any], olds: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Checked inputs, and the failures as {property: reason}."""
        request = provider_pb2.CheckRequest(news=_wire(provider, news), olds=_wire(provider, olds or {}))
        answer = self._stub.Check(request, timeout=CALL_TIMEOUT_SECONDS)
        return _values(answer.inputs), {failure.property: failure.reason for failure in answer.failures}

    def diff(self, provider: Any, olds: dict[str, Any], news: dict[str, Any]) -> provider_pb2.DiffResponse:
        request = provider_pb2.DiffRequest(id="id", olds=_wire(provider, olds), news=_wire(provider, news))
        return self._stub.Diff(request, timeout=CALL_TIMEOUT_SECONDS)

    def create(self, provider: Any, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(properties=_wire(provider, inputs))
        answer = self._stub.Create(request, timeout=CALL_TIMEOUT_SECONDS)
        return answer.id, _values(answer.properties)

    def read(self, provider: Any, id_: str, values: dict[str, Any]) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Id (empty where gone), outputs, inputs."""
        request = provider_pb2.ReadRequest(id=id_, properties=_wire(provider, values))
        answer = self._stub.Read(request, timeout=CALL_TIMEOUT_SECONDS)
        return answer.id, _values(answer.properties), _values(answer.inputs)

    def update(self, provider: Any, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(id=id_, olds=_wire(provider, olds), news=_wire(provider, news))
        return _values(self._stub.Update(request, timeout=CALL_TIMEOUT_SECONDS).properties)

    def delete(self, provider: Any, id_: str, values: dict[str, Any]) -> None:
        request = provider_pb2.DeleteRequest(id=id_, properties=_wire(provider, values))
        self._stub.Delete(request, timeout=CALL_TIMEOUT_SECONDS)


def _wire(provider: Any, values: dict[str, Any]) -> Any:
    complete = {**values, "__provider": serialize_provider(provider)}
    return asyncio.run(rpc.serialize_properties(complete, {}))


def _values(struct: Any) -> dict[str, Any]:
    values = rpc.deserialize_properties(struct, True)
    return {name: value for name, value in values.items() if name != "__provider"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """An empty project folder: what the provider takes relative paths from."""
    (tmp_path / "Pulumi.yaml").write_text("name: accelform\nruntime: python\nmain: infra/\n")
    (tmp_path / "infra").mkdir()
    return tmp_path


@contextlib.contextmanager
def plugin_process(project: Path, **environment: str) -> Iterator[Plugin]:
    """The plugin process, started in the program's folder as the engine does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pulumi.dynamic"],
        cwd=project / "infra",
        env={**os.environ, "PULUMI_PROJECT": "accelform", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Plugin(int(process.stdout.readline()))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def plugin(project: Path) -> Iterator[Plugin]:
    """A plugin process for one test."""
    with plugin_process(project) as running:
        yield running


@pytest.fixture
def start_plugin(project: Path) -> Callable[..., contextlib.AbstractContextManager[Plugin]]:
    """start_plugin(**environment): a further plugin process, such as one that dies at a fault point."""
    return lambda **environment: plugin_process(project, **environment)
