"""gRPC's reflection service as raw messages: their types are made here, from the public protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto
VERSIONS = ("v1", "v1alpha")


class Reflection:
    """Asks a server what it offers, in one version of the protocol."""

    def __init__(self, version: str, channel: grpc.Channel, metadata: Sequence[tuple[str, str]] = ()) -> None:
        package = f"grpc.reflection.{version}"
        pool = descriptor_pool.DescriptorPool()
        pool.Add(_file(package))
        request, response = (
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ServerReflection{kind}"))
            for kind in ("Request", "Response")
        )
        self._request = request
        self._metadata = metadata
        self._call = channel.stream_stream(
            f"/{package}.ServerReflection/ServerReflectionInfo",
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString,
        )

    def ask(self, **question: str) -> Any:
        """The answer to one question."""
        (answer,) = self._call(iter([self._request(**question)]), timeout=10, metadata=self._metadata)
        return answer

    def services(self) -> set[str]:
        """Full names of the services."""
        return {service.name for service in self.ask(list_services="*").list_services_response.service}

    def files(self, **question: str) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        """Descriptors of files, by name, and of all they import."""
        found: dict[str, descriptor_pb2.FileDescriptorProto] = {}
        wanted = [question]
        while wanted:
            for blob in self.ask(**wanted.pop()).file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(blob)
                found[file.name] = file
                wanted += [{"file_by_filename": name} for name in file.dependency if name not in found]
        return found


def _file(package: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    texts = {"host": 1, "file_by_filename": 3, "file_containing_symbol": 4, "list_services": 7}
    _message(file, "ServerReflectionRequest", [(name, number, "", False) for name, number in texts.items()])
    _message(file, "FileDescriptorResponse", [("file_descriptor_proto", 1, "bytes", True)])
    _message(file, "ServiceResponse", [("name", 1, "", False)])
    _message(file, "ListServiceResponse", [("service", 1, f".{package}.ServiceResponse", True)])
    _message(file, "ErrorResponse", [("error_code", 1, "int32", False), ("error_message", 2, "", False)])
    answers = {"file_descriptor": 4, "list_services": 6, "error": 7}
    types = {"file_descriptor": "FileDescriptorResponse", "list_services": "ListServiceResponse"}
    _message(
        file,
        "ServerReflectionResponse",
        [
            (f"{name}_response", number, f".{package}.{types.get(name, 'ErrorResponse')}", False)
            for name, number in answers.items()
        ],
    )
    return file


def _message(file: descriptor_pb2.FileDescriptorProto, name: str, fields: Sequence[tuple[str, int, str, bool]]) -> None:
    message = file.message_type.add(name=name)
    kinds = {"": Field.TYPE_STRING, "bytes": Field.TYPE_BYTES, "int32": Field.TYPE_INT32}
    for field, number, kind, repeated in fields:
        label = Field.LABEL_REPEATED if repeated else Field.LABEL_OPTIONAL
        added = message.field.add(name=field, number=number, label=label, type=kinds.get(kind, Field.TYPE_MESSAGE))
        if kind.startswith("."):
            added.type_name = kind
