"""Calls a service with one package's stubs, in a Python that has that package; JSON in, JSON out.

    python driver.py accelform|tensorflow-serving-api|ovmsclient < calls.json > seen.json

A call is {rpc, request: the message in protobuf's JSON form, or raw: base64, address, roots: PEM file or null,
metadata, timeout, copies: how many at once}. What was seen of each copy is {code, details, reply, initial, trailing}.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
from google.protobuf import json_format, message_factory

PREDICTION, MODEL = "PredictionService", "ModelService"
PREFIXES = {
    "tensorflow-serving-api": "tensorflow_serving.apis",
    "ovmsclient": "ovmsclient.tfs_compat.protos.tensorflow_serving.apis",
}
OURS = "accelform"
MODEL_RPCS = ("GetModelStatus", "HandleReloadConfigRequest")


class Stubs:
    """Message classes and callables of one package.

    Attributes:
        signatures: the class of what GetModelMetadata packs
    """

    def __init__(self, package: str) -> None:
        if package == OURS:
            services = importlib.import_module("accelform_runtime.protocol.services_pb2")
            self._files = {PREDICTION: services, MODEL: services}
            self._made: dict[str, Any] = {}
            self.signatures = importlib.import_module("accelform_runtime.protocol.metadata_pb2").SignatureDefMap
            return
        if package == "ovmsclient":
            importlib.import_module("ovmsclient")  # its modules find each other only after this
        prefix = PREFIXES[package]
        self.signatures = importlib.import_module(f"{prefix}.get_model_metadata_pb2").SignatureDefMap
        names = {PREDICTION: "prediction_service", MODEL: "model_service"}
        self._files = {key: importlib.import_module(f"{prefix}.{name}_pb2") for key, name in names.items()}
        self._made = {
            key: getattr(importlib.import_module(f"{prefix}.{name}_pb2_grpc"), f"{key}Stub")
            for key, name in names.items()
        }

    def method(self, channel: grpc.Channel, rpc: str) -> tuple[type[Any], Any]:
        """The request's class, and what calls `rpc` on the channel: the package's own stub where it has one."""
        service = service_of(rpc)
        described = self._files[service].DESCRIPTOR.services_by_name[service].methods_by_name[rpc]
        request = message_factory.GetMessageClass(described.input_type)
        if service in self._made:
            return request, getattr(self._made[service](channel), rpc)
        call = channel.unary_unary(
            f"/{described.containing_service.full_name}/{rpc}",
            request_serializer=request.SerializeToString,
            response_deserializer=message_factory.GetMessageClass(described.output_type).FromString,
        )
        return request, call


def service_of(rpc: str) -> str:
    """The service that has `rpc`."""
    return MODEL if rpc in MODEL_RPCS else PREDICTION


def channel_to(address: str, roots: str | None) -> grpc.Channel:
    """A channel as a plain user makes it, but for authorities of the test's own."""
    if roots is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(roots).read_bytes()))


def told(stubs: Stubs, reply: Any) -> dict[str, Any]:
    """The reply as JSON; metadata are unpacked with the package's own message, whatever that calls its type."""
    packed = dict(reply.metadata) if reply.DESCRIPTOR.name == "GetModelMetadataResponse" else {}
    if packed:
        reply.ClearField("metadata")
    found = json_format.MessageToDict(reply, preserving_proto_field_name=True)
    for field, value in packed.items():
        signatures = stubs.signatures.FromString(value.value)
        unpacked = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
        found.setdefault("metadata", {})[field] = {"@type": value.type_url, **unpacked}
    return found


def seen(stubs: Stubs, call: Any) -> dict[str, Any]:
    """Waits for the end of `call` and tells all of it."""
    try:
        reply = told(stubs, call.result())
    except grpc.RpcError:
        reply = None
    return {
        "code": call.code().name,
        "details": call.details(),
        "reply": reply,
        "initial": [[key, str(value)] for key, value in call.initial_metadata() or ()],
        "trailing": [[key, str(value)] for key, value in call.trailing_metadata() or ()],
    }


def made(stubs: Stubs, case: dict[str, Any]) -> list[dict[str, Any]]:
    """Makes a case's calls, all at once."""
    with channel_to(case["address"], case["roots"]) as channel:
        metadata = [tuple(pair) for pair in case["metadata"]]
        if "raw" in case:
            method = channel.unary_unary(f"/tensorflow.serving.{service_of(case['rpc'])}/{case['rpc']}")
            message = base64.b64decode(case["raw"])
        else:
            request, method = stubs.method(channel, case["rpc"])
            message = json_format.ParseDict(case["request"], request())
        calls = [method.future(message, timeout=case["timeout"], metadata=metadata) for _ in range(case["copies"])]
        return [seen(stubs, call) for call in calls]


def main() -> None:
    """Answers the cases on standard input."""
    stubs = Stubs(sys.argv[1])
    json.dump([made(stubs, case) for case in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
