"""The wire format is public: names, numbers and generated modules stay what they are."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest

import accelform_runtime.protocol as protocol
from accelform_runtime.protocol import (
    example_pb2,
    inference_pb2,
    management_pb2,
    metadata_pb2,
    model_pb2,
    predict_pb2,
    services_pb2,
    signature_pb2,
    status_pb2,
    tensor_pb2,
    types_pb2,
)

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
    example_pb2.Feature: {"bytes_list": 1, "float_list": 2, "int64_list": 3},
    example_pb2.Features: {"feature": 1},
    example_pb2.Example: {"features": 1},
    inference_pb2.Input: {"example_list": 1, "example_list_with_context": 2},
    inference_pb2.ExampleListWithContext: {"examples": 1, "context": 2},
    inference_pb2.ClassificationRequest: {"model_spec": 1, "input": 2},
    inference_pb2.ClassificationResponse: {"result": 1, "model_spec": 2},
    inference_pb2.RegressionResponse: {"result": 1, "model_spec": 2},
    inference_pb2.Class: {"label": 1, "score": 2},
    inference_pb2.InferenceTask: {"model_spec": 1, "method_name": 2},
    inference_pb2.InferenceResult: {"model_spec": 1, "classification_result": 2, "regression_result": 3},
    inference_pb2.MultiInferenceRequest: {"tasks": 1, "input": 2},
    inference_pb2.MultiInferenceResponse: {"results": 1},
    metadata_pb2.GetModelMetadataRequest: {"model_spec": 1, "metadata_field": 2},
    metadata_pb2.GetModelMetadataResponse: {"model_spec": 1, "metadata": 2},
    metadata_pb2.SignatureDefMap: {"signature_def": 1},
    signature_pb2.SignatureDef: {"inputs": 1, "outputs": 2, "method_name": 3},
    signature_pb2.TensorInfo: {"name": 1, "dtype": 2, "tensor_shape": 3},
    management_pb2.GetModelStatusRequest: {"model_spec": 1},
    management_pb2.ModelVersionStatus: {"version": 1, "state": 2, "status": 3},
    management_pb2.ReloadConfigRequest: {"config": 1},
    management_pb2.ReloadConfigResponse: {"status": 1},
    management_pb2.ModelConfig: {
        "name": 1,
        "base_path": 2,
        "model_platform": 4,
        "model_version_policy": 7,
        "version_labels": 8,
    },
    status_pb2.StatusProto: {"error_code": 1, "error_message": 2},
}


@pytest.mark.parametrize("message", FIELDS, ids=lambda message: message.DESCRIPTOR.full_name)
def test_field_numbers(message):
    """Field numbers are TensorFlow's; a changed one would silently drop what clients send."""
    assert {field.name: field.number for field in message.DESCRIPTOR.fields} == FIELDS[message]


METHODS = {
    "PredictionService": {
        "Classify": ("ClassificationRequest", "ClassificationResponse"),
        "Regress": ("RegressionRequest", "RegressionResponse"),
        "Predict": ("PredictRequest", "PredictResponse"),
        "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "ModelService": {
        "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
    },
}


@pytest.mark.parametrize("service", METHODS)
def test_services(service):
    """Services, methods and their messages have TensorFlow Serving's public names."""
    described = services_pb2.DESCRIPTOR.services_by_name[service]

    assert described.full_name == f"tensorflow.serving.{service}"
    assert {
        method.name: (method.input_type.full_name, method.output_type.full_name) for method in described.methods
    } == {
        name: tuple(f"tensorflow.serving.{message}" for message in messages)
        for name, messages in METHODS[service].items()
    }


def test_names_as_text():
    """The names that clients dial are those of the descriptions."""
    assert protocol.PREDICTION_SERVICE == "tensorflow.serving.PredictionService"
    assert protocol.PREDICT == "/tensorflow.serving.PredictionService/Predict"
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


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go, whose modules are generated too")
def test_generated_modules_are_fresh(tmp_path):
    """The committed modules are what the .proto files give; tools/generate_protocol.py writes them."""
    generate = runpy.run_path(str(ROOT / "tools" / "generate_protocol.py"))["generate"]
    (tmp_path / "front").mkdir()

    assert generate(tmp_path) == 0

    for folder, pattern in (
        ("accelform_runtime/protocol", "*_pb2.py*"),
        ("front/wire", "*.pb.go"),
    ):
        fresh = {path.name: path.read_text() for path in (tmp_path / folder).iterdir()}
        committed = {path.name: path.read_text() for path in (ROOT / "runtime" / folder).glob(pattern)}
        assert fresh
        assert sorted(fresh) == sorted(committed)
        assert [name for name in fresh if fresh[name] != committed[name]] == []
