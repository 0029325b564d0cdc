"""Swaps of the resident model, and what the server says of its models, as a gRPC client asks."""

from __future__ import annotations

from typing import Any

from accelform_runtime.protocol import management_pb2

KEY = (("authorization", "Bearer primary-key-0123456789abcdef"),)
RELOAD = "/tensorflow.serving.ModelService/HandleReloadConfigRequest"
STATUS = "/tensorflow.serving.ModelService/GetModelStatus"
MODEL = "resnet50-digits"

State = management_pb2.ModelVersionStatus


def reload_request(base_path: str, name: str = MODEL) -> management_pb2.ReloadConfigRequest:
    """Asks for one model."""
    request = management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name=name, base_path=base_path)
    return request


def reloading(service: Any, base_path: str, name: str = MODEL, timeout: float = 30.0) -> Any:
    """A swap under way: a call that has `code()`, `result()` and `cancel()`."""
    call = service.channel().unary_unary(
        RELOAD,
        request_serializer=management_pb2.ReloadConfigRequest.SerializeToString,
        response_deserializer=management_pb2.ReloadConfigResponse.FromString,
    )
    return call.future(reload_request(base_path, name), metadata=KEY, timeout=timeout)


def states(service: Any, name: str = MODEL) -> dict[int, tuple[str, str]]:
    """State and reason of each version of the model that the server knows."""
    call = service.channel().unary_unary(
        STATUS,
        request_serializer=management_pb2.GetModelStatusRequest.SerializeToString,
        response_deserializer=management_pb2.GetModelStatusResponse.FromString,
    )
    request = management_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    answer = call(request, metadata=KEY, timeout=10)
    return {
        found.version: (State.State.Name(found.state), found.status.error_message)
        for found in answer.model_version_status
    }
