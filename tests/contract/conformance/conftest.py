"""Servers of every kind that the conformance tables need, plain and with TLS, and the foreign clients' Python."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from onnx import TensorProto, helper
from tests.contract.conformance.row import VERSION
from tests.contract.runtime.conftest import (
    INPUT,
    OUTPUT,
    Service,
    bundle,
    start,
    started,
    wait_until_serving,
    write_bundle,
)
from tests.support.scripts import run_script
from tests.support.split_bundle import write_split_bundle
from tools.conformance import INTERPRETER, interpreter

DRIVER = Path(__file__).with_name("driver.py")
SERVERS: dict[str, dict[str, Any]] = {
    "keys": {},
    "open": {"auth_enabled": False, "keys_file": ""},
    "strict": {"strict_model_spec": True, "tensor_content_replies": True},
    "narrow": {"replica_max_concurrent_requests": 2},
    "small": {"max_request_bytes": 64 * 1024},
    "http": {"http_enabled": True, "http_port": 0},
    "value": {},
    "root": {},
    "blocks": {},
    "float32": {},
}
"""Settings of a server by its name in the tables; `value` has a model of one value, `root` may load others; `blocks`
and `float32` have a model of tensors in that number format."""

MOST = 11
"""Servers at once; those of the other transport are stopped then. No test uses both."""

__all__ = ["bundle", "start", "started"]


@dataclasses.dataclass
class Secured(Service):
    """A running server with TLS."""

    roots: Path = Path()
    """Authorities of its certificate, PEM."""

    def channel(self) -> grpc.Channel:
        credentials = grpc.ssl_channel_credentials(self.roots.read_bytes())
        channel = grpc.secure_channel(self.address, credentials, options=[("grpc.use_local_subchannel_pool", 1)])
        self.channels.append(channel)
        return channel


@dataclasses.dataclass(frozen=True)
class Certificate:
    """Files of a certificate for 127.0.0.1 and localhost."""

    chain: Path
    key: Path
    roots: Path


def value_model() -> bytes:
    """The mean of the image's first colour: one value."""
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Slice", ["mean", "first", "second", "channel"], [OUTPUT]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        for name, values in {"axes": [1, 2], "first": [0], "second": [1], "channel": [1]}.items()
    ]
    graph = helper.make_graph(
        nodes,
        "value",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 1])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of an authority that only these tests know."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    files = Certificate(folder / "chain.pem", folder / "key.pem", folder / "roots.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(str(files.chain), append=True)
    files.key.touch(mode=0o600)
    issued.private_key_pem.write_to_path(str(files.key))
    authority.cert_pem.write_to_path(str(files.roots))
    return files


@pytest.fixture(scope="session")
def model_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: `present` is the resident one, `next` a later version, `damaged` is none."""
    root = tmp_path_factory.mktemp("models") / "root"
    write_bundle(root / "present")
    write_bundle(root / "next", version=str(VERSION + 1))
    damaged = write_bundle(root / "damaged")
    (damaged / "model.onnx").write_bytes(b"no model")
    write_bundle(root.parent / "outside")
    return root


@pytest.fixture(scope="session")
def value_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one value."""
    outputs = [{"name": OUTPUT, "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, 1]}]
    return write_bundle(tmp_path_factory.mktemp("value") / "model", value_model(), outputs=outputs, labels=[])


@pytest.fixture(scope="session")
def resident(model_root: Path, value_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The model of each server."""
    tensors = tmp_path_factory.mktemp("tensors")
    return dict.fromkeys(SERVERS, model_root / "present") | {
        "value": value_bundle,
        "blocks": write_split_bundle(tensors / "blocks"),
        "float32": write_split_bundle(tensors / "float32", parts=False, number_format="float32"),
    }


Server = Callable[..., Service]


@pytest.fixture(scope="session")
def server(
    started: Callable[..., Service],
    certificate: Certificate,
    model_root: Path,
    resident: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Server:
    """server(name, tls=False): the server of that name in SERVERS; it stays until many others are wanted."""
    running: dict[tuple[str, bool], Service] = {}

    def find(name: str, *, tls: bool = False) -> Service:
        if (name, tls) not in running:
            if len(running) >= MOST:
                for other in [key for key in running if key[1] is not tls]:
                    assert running.pop(other).terminate() == 0
            settings = dict(SERVERS[name])
            if name == "root":
                settings["model_root"] = str(model_root)
            if tls:
                settings |= {"ssl_cert_pem_file": str(certificate.chain), "ssl_key_pem_file": str(certificate.key)}
            folder = tmp_path_factory.mktemp(f"{name}-tls" if tls else name)
            service = started(folder / "service", resident[name], settings)
            if tls:
                service = Secured(
                    service.process,
                    service.folder,
                    service.log_path,
                    channels=service.channels,
                    roots=certificate.roots,
                )
            running[name, tls] = wait_until_serving(service)
        return running[name, tls]

    return find


@pytest.fixture(scope="session")
def foreign_python() -> Path:
    """A Python that has other people's clients."""
    if (python := interpreter()) is None:
        pytest.skip(f"needs the clients of others: run `make conformance`, or set {INTERPRETER}")
    return python


Drive = Callable[..., Any]


@pytest.fixture(scope="session")
def drive(request: pytest.FixtureRequest) -> Drive:
    """drive(package, cases): what driver.py saw of each case, with that package's stubs."""

    def run(package: str, cases: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        python = sys.executable if package == "accelform" else request.getfixturevalue("foreign_python")
        answer = run_script([python, str(DRIVER), package], cases)
        assert isinstance(answer, list)
        return answer

    return run
