"""Reflection, as grpcurl and its like use it."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2
from tests.contract.conformance.row import KEY
from tests.support.reflection import VERSIONS, Reflection

from accelform_runtime.protocol import services_pb2

METADATA = (("authorization", f"Bearer {KEY}"),)
PREDICTION, MODEL = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"


@pytest.fixture(params=VERSIONS)
def reflection(request, server) -> Reflection:
    return Reflection(request.param, server("keys").channel(), METADATA)


def own_files() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    """The project's .proto files and what they import, by name."""
    found, wanted = {}, [services_pb2.DESCRIPTOR]
    while wanted:
        file = wanted.pop()
        found[file.name] = descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb)
        wanted += [needed for needed in file.dependencies if needed.name not in found]
    return found


def meaning(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """The file without the JSON names that follow from the fields' names: compilers tell them or do not."""
    plain = descriptor_pb2.FileDescriptorProto()
    plain.CopyFrom(file)
    messages = list(plain.message_type)
    while messages:
        message = messages.pop()
        messages += message.nested_type
        for field in message.field:
            first, *others = field.name.split("_")
            if field.json_name == first + "".join(word.capitalize() for word in others):
                field.ClearField("json_name")
    return plain


def test_services(reflection):
    """All services are listed, in both versions of the protocol."""
    assert {
        PREDICTION,
        MODEL,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= reflection.services()


@pytest.mark.parametrize("symbol", [PREDICTION, MODEL, "tensorflow.serving.PredictRequest", f"{PREDICTION}.Predict"])
def test_symbols_lead_to_their_files(reflection, symbol):
    """A service, message or method is found in the file that the project's .proto files have for it."""
    (blob,) = reflection.ask(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto[:1]

    file = descriptor_pb2.FileDescriptorProto.FromString(blob)
    assert meaning(file) == meaning(own_files()[file.name])
    defined = [entry.name for entry in [*file.service, *file.message_type]]
    assert any(f"{file.package}.{name}" in symbol for name in defined)


def test_every_file_of_the_protocol(reflection):
    """Everything a tool needs to build requests is told, equal to the .proto files."""
    found, own = reflection.files(file_containing_symbol=PREDICTION), own_files()

    assert set(found) == set(own)
    differing = [name for name in own if not name.startswith("google/") and meaning(found[name]) != meaning(own[name])]
    assert differing == []


def test_unknown_symbols_are_not_found(reflection):
    """A symbol that is not there is answered with NOT_FOUND inside the stream."""
    answer = reflection.ask(file_containing_symbol="tensorflow.serving.Nothing")

    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_needs_a_key(server, version):
    """Whoever has no key learns nothing about methods."""
    with pytest.raises(grpc.RpcError) as raised:
        Reflection(version, server("keys").channel()).services()

    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert dict(raised.value.initial_metadata())["request_id"]


@pytest.mark.parametrize("version", VERSIONS)
def test_open_services_need_none(server, version):
    """Without authentication everybody may look."""
    assert PREDICTION in Reflection(version, server("open").channel()).services()
