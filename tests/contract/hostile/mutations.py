"""Valid messages of every method, and what becomes of their bytes in transit through hostile hands."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from tests.contract.runtime.conftest import image_bytes, request_bytes

from accelform_runtime.protocol import example_pb2 as example
from accelform_runtime.protocol import inference_pb2, management_pb2, metadata_pb2, predict_pb2, types_pb2

PREDICTION = "/tensorflow.serving.PredictionService/"
MODEL = "/tensorflow.serving.ModelService/"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def _tensor() -> bytes:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "resnet50-digits"
    request.model_spec.version.value = 3
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_FLOAT
    for size in (1, 2, 2, 3):
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = bytes(48)
    tensor.float_val.extend([1.0, 2.0])
    request.output_filter.append("output_alias")
    return bytes(request.SerializeToString())


def _examples(request: Any) -> bytes:
    features = example.Example()
    features.features.feature["images"].bytes_list.value.append(image_bytes())
    request.input.example_list.examples.append(features)
    return bytes(request.SerializeToString())


def _multi() -> bytes:
    request = inference_pb2.MultiInferenceRequest()
    request.tasks.add(method_name="tensorflow/serving/classify")
    return _examples(request)


def _metadata() -> bytes:
    return bytes(metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]).SerializeToString())


def _reload() -> bytes:
    request = management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="x", base_path="/nowhere", model_platform="tensorflow")
    return bytes(request.SerializeToString())


VALID: dict[str, bytes] = {
    f"{PREDICTION}Predict": request_bytes(image_bytes()),
    f"{PREDICTION}Predict#tensor": _tensor(),
    f"{PREDICTION}Classify": _examples(inference_pb2.ClassificationRequest()),
    f"{PREDICTION}Regress": _examples(inference_pb2.RegressionRequest()),
    f"{PREDICTION}MultiInference": _multi(),
    f"{PREDICTION}GetModelMetadata": _metadata(),
    f"{MODEL}GetModelStatus": b"\x0a\x03\x0a\x01x",
    f"{MODEL}HandleReloadConfigRequest": _reload(),
    REFLECTION: b"\x3a\x01*",
    "/grpc.health.v1.Health/Check": b"\x0a\x0atensorflow",
    "/grpc.health.v1.Health/List": b"",
    "/grpc.health.v1.Health/Watch": b"\x0a\x0atensorflow",
}
"""A message by its method; what follows a # tells messages of one method apart."""


def path_of(name: str) -> str:
    """The method that a name in VALID stands for."""
    return name.partition("#")[0]


def nested(levels: int, field: int = 1) -> bytes:
    """Messages within messages, each in that field of the one around it."""
    data = b""
    for _ in range(levels):
        data = bytes([field << 3 | 2]) + varint(len(data)) + data
    return data


def groups(levels: int) -> bytes:
    """Groups, long deprecated, that begin within each other and never end."""
    return b"\x0b" * levels


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = b""
    while number >= 128:
        found, number = found + bytes([128 | number & 127]), number >> 7
    return found + bytes([number])


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _length(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + varint(chance.choice([2**31 - 1, 2**32, 2**63, 2**64 - 1, 300])) + data[at + 1 :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.randint(1, 16)) + data[at:]


def _twice(data: bytes, chance: random.Random) -> bytes:
    begin = chance.randrange(len(data) + 1)
    end = chance.randrange(begin, len(data) + 1)
    return data[:end] + data[begin:end] * chance.randint(1, 5) + data[end:]


def _wire_type(data: bytes, chance: random.Random) -> bytes:
    if not data:
        return bytes([8 | chance.randrange(8), 1])
    return bytes([data[0] & 0xF8 | chance.randrange(8)]) + data[1:]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flip, _length, _insert, _twice, _wire_type)


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The message after one to three changes."""
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(MUTATIONS)(data, chance)
    return data
