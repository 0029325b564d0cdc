"""A tiny model in the served form, and the real server as the product starts it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from tests.support.split_bundle import write_split_bundle
from tests.support.waiting import wait_for

from accelform_runtime.keys import write_key_file
from accelform_runtime.protocol import PREDICT, predict_pb2, types_pb2

INPUT = "Placeholder:0"
OUTPUT = "classifier_1/resnet_v1_50/predictions/Softmax:0"
CLASSES = 10
SLOW = 255
PRIMARY = "primary-key-0123456789abcdef"
SECONDARY = "secondary-key-0123456789abcd"

Metadata = tuple[tuple[str, str], ...]


def tiny_model() -> bytes:
    """Softmax over a random projection of the mean colour.

    The fuller of red an image is, the longer it takes: the loop runs up to 20,000 products of 128 x 128 matrices, and
    not at all for an image without red. A grey image takes no time either: servers warm up with one at each start.
    """
    random = np.random.default_rng(7)
    weights: dict[str, np.ndarray] = {
        "projection": random.normal(size=(3, CLASSES)).astype(np.float32),
        "matrix": (np.eye(128) + random.normal(size=(128, 128)) * 1e-4).astype(np.float32),
        "nothing": np.zeros((128, 128), np.float32),
        "scale": np.array(20_000 / 255, np.float32),
        "red": np.array([0], np.int64),
        "green": np.array([1], np.int64),
        "blue": np.array([2], np.int64),
        "one": np.array(1, np.float32),
        "no_shape": np.array([], np.int64),
        "axes": np.array([1, 2], np.int64),
        "all_axes": np.array([0, 1], np.int64),
        "zero": np.array(0, np.float32),
        "per": np.array(1 / 255, np.float32),
    }
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("MatMul", ["state", "matrix"], ["product"]),
            helper.make_node("Clip", ["product"], ["next_state"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [128, 128]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next_state", TensorProto.FLOAT, [128, 128]),
        ],
    )
    nodes = [
        helper.make_node("Cast", [INPUT], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["mean", "red"], ["mean_red"], axis=1),
        helper.make_node("Gather", ["mean", "green"], ["mean_green"], axis=1),
        helper.make_node("Gather", ["mean", "blue"], ["mean_blue"], axis=1),
        helper.make_node("Sub", ["mean_green", "mean_blue"], ["tint"]),
        helper.make_node("Abs", ["tint"], ["tint_size"]),
        helper.make_node("Clip", ["tint_size", "zero", "one"], ["is_tinted"]),
        helper.make_node("Mul", ["mean_red", "is_tinted"], ["work"]),
        helper.make_node("Reshape", ["work", "no_shape"], ["work_scalar"]),
        helper.make_node("Mul", ["work_scalar", "scale"], ["turns_float"]),
        helper.make_node("Cast", ["turns_float"], ["turns"], to=TensorProto.INT64),
        helper.make_node("Loop", ["turns", "", "nothing"], ["worked"], body=body),
        helper.make_node("ReduceSum", ["worked", "all_axes"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["no_change"]),
        helper.make_node("Mul", ["mean", "per"], ["colour"]),
        helper.make_node("MatMul", ["colour", "projection"], ["scores"]),
        helper.make_node("Add", ["scores", "no_change"], ["final"]),
        helper.make_node("Softmax", ["final"], [OUTPUT], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def write_bundle(folder: Path, model: bytes | None = None, **changes: Any) -> Path:
    """A bundle as the conversion writes it, around the tiny model or `model`; `changes` are to its description."""
    folder.mkdir(parents=True)
    model = model or tiny_model()
    (folder / "model.onnx").write_bytes(model)
    bundle = {
        "schema": 3,
        "name": "resnet50-digits",
        "version": "3",
        "family": "resnet50",
        "number_format": "bw-a10-cnn",
        "method_name": "tensorflow/serving/predict",
        "inputs": [{"name": INPUT, "alias": "images", "encoding": "image", "dtype": "DT_STRING", "shape": [-1]}],
        "outputs": [{"name": OUTPUT, "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, CLASSES]}],
        "labels": [str(label) for label in range(CLASSES)],
        "estimate": {"latency_ms": 1.78, "occupancy_ms": 1.53},
        "files": {"model.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}},
        **changes,
    }
    (folder / "bundle.json").write_text(json.dumps(bundle), encoding="utf-8")
    return folder


def image_bytes(red: int = 0, *, kind: str = "PNG") -> bytes:
    """A plain image; `red` 0 is scored at once, 255 takes longest."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 40), (red, 90, 60)).save(buffer, kind)
    return buffer.getvalue()


def azureml_metadata(key: str = PRIMARY, service_name: str = "digits-service") -> Metadata:
    """What azureml.accel's client sends with every call."""
    return (
        ("authorization", f"Bearer {key}"),
        ("x-ms-aml-grpc-service-route", f"/api/v1/service/{service_name}"),
    )


def request_bytes(*images: bytes, input_name: str = "images", rank: int = 1, **fields: Any) -> bytes:
    """A PredictRequest as azureml.accel's score_file builds it: no model_spec, no output_filter, DT_STRING."""
    request = predict_pb2.PredictRequest(**fields)
    tensor = request.inputs[input_name]
    tensor.dtype = types_pb2.DT_STRING
    if rank:
        tensor.tensor_shape.dim.add(size=len(images))
    tensor.string_val.extend(images)
    return request.SerializeToString()


class Begun:
    """A call under way. On the wire it is a plain unary call; only this side reads it in steps."""

    def __init__(self, call: Any) -> None:
        self._call = call
        assert dict(call.initial_metadata())["request_id"]
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for _ in self._call:
                pass

    def done(self) -> bool:
        return not self._reader.is_alive()

    def cancel(self) -> None:
        self._call.cancel()

    def code(self) -> grpc.StatusCode:
        self._reader.join(60)
        return self._call.code()

    def details(self) -> str:
        self._reader.join(60)
        return str(self._call.details())

    def trailing_metadata(self) -> Any:
        self._reader.join(60)
        return self._call.trailing_metadata()


@dataclass
class Service:
    """A running server process."""

    process: subprocess.Popen[bytes]
    folder: Path
    log_path: Path
    port: int = 0
    channels: list[grpc.Channel] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def channel(self) -> grpc.Channel:
        channel = grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.channels.append(channel)
        return channel

    def health(self, service: str = "", timeout: float = 5.0) -> int:
        stub = health_pb2_grpc.HealthStub(self.channel())
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout).status)

    def predict(self, message: bytes, *, metadata: Metadata | None = None, timeout: float = 30.0) -> Any:
        """The response and its call; without `metadata`, with what azureml.accel's client sends."""
        stub = self.channel().unary_unary(PREDICT, response_deserializer=predict_pb2.PredictResponse.FromString)
        return stub.with_call(message, timeout=timeout, metadata=azureml_metadata() if metadata is None else metadata)

    def refusal(self, message: bytes, **options: Any) -> Any:
        """The error that the call ends with."""
        with pytest.raises(grpc.RpcError) as raised:
            self.predict(message, **options)
        return raised.value

    def begin(self, message: bytes, timeout: float = 60.0) -> Begun:
        """A call that the server has taken in: its request_id is here, its answer need not be."""
        return Begun(self.channel().unary_stream(PREDICT)(message, timeout=timeout, metadata=azureml_metadata()))

    def log(self) -> list[dict[str, Any]]:
        """The lines so far; of a server that runs, without the one that is being written just now."""
        runs = self.process.poll() is None
        text = self.log_path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1] if runs else text
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.log() if line["event"] == event]

    def terminate(self, timeout: float = 180.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


def command(model_folder: Path, config: Path) -> list[str]:
    """The image's entry point."""
    return [
        sys.executable,
        "-s",
        "-m",
        "accelform_runtime.server",
        "--model-dir",
        str(model_folder),
        "--config",
        str(config),
    ]


Start = Callable[..., Service]


@pytest.fixture
def image() -> Callable[..., bytes]:
    """image(red=0, kind="PNG"): a plain image; `red` 0 is scored at once, 255 takes about half a second."""
    return image_bytes


@pytest.fixture
def request_of() -> Callable[..., bytes]:
    """request_of(*images, input_name="images", rank=1, **fields): a serialised PredictRequest."""
    return request_bytes


@pytest.fixture
def azureml() -> Callable[..., Metadata]:
    """azureml(key=..., service_name=...): the metadata of azureml.accel's client."""
    return azureml_metadata


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """eventually(look, what, seconds=30.0): the first true answer of `look`."""
    return wait_for


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "model")


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[Path, Path, dict[str, Any]], Service]]:
    """Starts servers and ends those that still run afterwards."""
    services: list[Service] = []

    def start(folder: Path, model_folder: Path, settings: dict[str, Any]) -> Service:
        folder.mkdir(parents=True, exist_ok=True)
        keys_file = folder / "keys.json"
        write_key_file(keys_file, [PRIMARY, SECONDARY])
        config = {
            "name": "digits-service",
            "port": 0,
            "keys_file": str(keys_file),
            "device_lock_file": str(folder / "fpga.json"),
            "image": "images/digits/1@sha256:abc",
            "threads": 1,
            "max_request_wait_time_ms": 0,
            "drain_seconds": 10.0,
            **settings,
        }
        (folder / "service.json").write_text(json.dumps(config), encoding="utf-8")
        log_path = folder / "log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELFORM")}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                command(model_folder, folder / "service.json"), stderr=log, stdout=log, env=environment, cwd=folder
            )
        service = Service(process, folder, log_path)
        services.append(service)
        return service

    yield start
    for service in services:
        for channel in service.channels:
            channel.close()
        if service.process.poll() is None:
            service.process.kill()
        service.process.wait(180)


@pytest.fixture
def start(tmp_path: Path, bundle: Path, started: Callable[..., Service]) -> Start:
    """Starts a server of this test's own and waits until it serves, unless told not to."""
    numbers = iter(range(100))

    def run(*, ready: bool = True, model_folder: Path = bundle, **settings: Any) -> Service:
        service = started(tmp_path / f"service-{next(numbers)}", model_folder, settings)
        return wait_until_serving(service) if ready else service

    return run


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, bundle: Path, started: Callable[..., Service]) -> Service:
    """One server for all tests that only call it."""
    return wait_until_serving(started(tmp_path_factory.mktemp("shared") / "service", bundle, {}))


@pytest.fixture(scope="session")
def tensor_service(tmp_path_factory: pytest.TempPathFactory, started: Callable[..., Service]) -> Service:
    """A server of a small model that takes a tensor, in onnxruntime, whose answers may need a certificate."""
    folder = tmp_path_factory.mktemp("tensors")
    model = write_split_bundle(folder / "model")
    return wait_until_serving(started(folder / "service", model, {"engine": "onnxruntime"}))


@pytest.fixture(scope="session")
def ready_service() -> Callable[[Service], Service]:
    """ready_service(service): the same, once it serves."""
    return wait_until_serving


def wait_until_serving(service: Service) -> Service:
    """Waits for SERVING by the public health call."""

    def listening() -> int:
        assert service.process.poll() is None, service.log_path.read_text()
        events = [line for line in service.log_path.read_text().splitlines() if '"listening"' in line]
        return int(json.loads(events[0])["port"]) if events else 0

    service.port = wait_for(listening, "the port in the log")

    def serving() -> bool:
        with contextlib.suppress(grpc.RpcError):
            return service.health() == health_pb2.HealthCheckResponse.SERVING
        return False

    wait_for(serving, "SERVING")
    return service
