"""The wire format is public: names, numbers and generated modules stay what they are."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import accelform_runtime.protocol as protocol
from accelform_runtime.protocol import model_pb2, predict_pb2, tensor_pb2, types_pb2

ROOT = Path(__file__).resolve().parents[3]

FIELDS = {
    tensor_pb2.TensorShapeProto: {"dim": 2, "unknown_rank": 3},
    tensor_pb2.TensorShapeProto.Dim: {"size": 1, "name": 2},
    tensor_pb2.TensorProto: {
        "dtype": 1,
        "tensor_shape": 2,
        "version_number": 3,
        "tensor_content": 4,
        "float_val": 5,
        "double_val": 6,
        "int_val": 7,
        "string_val": 8,
        "scomplex_val": 9,
        "int64_val": 10,
        "bool_val": 11,
        "dcomplex_val": 12,
        "half_val": 13,
        "uint32_val": 16,
        "uint64_val": 17,
    },
    model_pb2.ModelSpec: {"name": 1, "version": 2, "signature_name": 3, "version_label": 4},
    predict_pb2.PredictRequest: {"model_spec": 1, "inputs": 2, "output_filter": 3},
    predict_pb2.PredictResponse: {"outputs": 1, "model_spec": 2},
}


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.DESCRIPTOR.full_name)
def test_field_numbers(message):
    """Field numbers are TensorFlow's; a changed one would silently drop what clients send."""
    assert {field.name: field.number for field in message.DESCRIPTOR.fields} == FIELDS[message]


def test_full_names():
    """Packages, messages and the method have TensorFlow Serving's public names."""
    service = predict_pb2.DESCRIPTOR.services_by_name["PredictionService"]

    assert service.full_name == protocol.PREDICTION_SERVICE == "tensorflow.serving.PredictionService"
    assert [method.name for method in service.methods] == ["Predict"]
    assert protocol.PREDICT == "/tensorflow.serving.PredictionService/Predict"
    assert service.methods[0].input_type.full_name == "tensorflow.serving.PredictRequest"
    assert service.methods[0].output_type.full_name == "tensorflow.serving.PredictResponse"
    assert tensor_pb2.TensorProto.DESCRIPTOR.full_name == "tensorflow.TensorProto"


def test_element_types():
    """Type numbers are TensorFlow's."""
    numbers = dict(types_pb2.DataType.items())

    assert numbers == {
        "DT_INVALID": 0,
        "DT_FLOAT": 1,
        "DT_DOUBLE": 2,
        "DT_INT32": 3,
        "DT_UINT8": 4,
        "DT_INT16": 5,
        "DT_INT8": 6,
        "DT_STRING": 7,
        "DT_COMPLEX64": 8,
        "DT_INT64": 9,
        "DT_BOOL": 10,
        "DT_QINT8": 11,
        "DT_QUINT8": 12,
        "DT_QINT32": 13,
        "DT_BFLOAT16": 14,
        "DT_QINT16": 15,
        "DT_QUINT16": 16,
        "DT_UINT16": 17,
        "DT_COMPLEX128": 18,
        "DT_HALF": 19,
        "DT_RESOURCE": 20,
        "DT_VARIANT": 21,
        "DT_UINT32": 22,
        "DT_UINT64": 23,
    }


def test_a_request_as_bytes():
    """The bytes of a request are the public wire format, spelled out by hand."""
    request = predict_pb2.PredictRequest()
    tensor = request.inputs["images"]
    tensor.dtype = types_pb2.DT_STRING
    tensor.tensor_shape.dim.add(size=1)
    tensor.string_val.append(b"JPEG")

    tensor_bytes = b"\x08\x07" + b"\x12\x04\x12\x02\x08\x01" + b"\x42\x04JPEG"
    entry = b"\x0a\x06images" + b"\x12" + bytes([len(tensor_bytes)]) + tensor_bytes
    assert request.SerializeToString() == b"\x12" + bytes([len(entry)]) + entry


def test_generated_modules_are_fresh(tmp_path):
    """The committed modules are what the .proto files give; tools/generate_protocol.py writes them."""
    generate = runpy.run_path(str(ROOT / "tools" / "generate_protocol.py"))["generate"]

    assert generate(tmp_path) == 0

    fresh = {path.name: path.read_text() for path in (tmp_path / "accelform_runtime" / "protocol").iterdir()}
    folder = ROOT / "runtime" / "accelform_runtime" / "protocol"
    committed = {path.name: path.read_text() for path in folder.glob("*_pb2.py*")}
    assert sorted(fresh) == sorted(committed)
    assert [name for name in fresh if fresh[name] != committed[name]] == []
