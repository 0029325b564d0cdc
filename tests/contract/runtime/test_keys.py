"""Who may call, and where keys must never appear."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from accelform_runtime.keys import write_key_file

PRIMARY = "primary-key-0123456789abcdef"
SECONDARY = "secondary-key-0123456789abcd"


@pytest.mark.parametrize("value", [f"Bearer {PRIMARY}", f"bearer {SECONDARY}", PRIMARY, SECONDARY])
def test_known_keys(service, image, request_of, value):
    """Both keys are accepted, after `Bearer ` and bare."""
    response, _ = service.predict(request_of(image()), metadata=(("authorization", value),))

    assert response.outputs


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer "),),
        (("authorization", f"Bearer {PRIMARY}x"),),
        (("authorization", f"Basic {PRIMARY}"),),
        (("x-ms-aml-grpc-service-route", "/api/v1/service/digits-service"),),
    ],
)
def test_unknown_keys(service, image, request_of, metadata):
    """Without a known key a call is UNAUTHENTICATED, and still gets the request_id that older clients look for."""
    error = service.refusal(request_of(image()), metadata=metadata)

    assert error.code() is StatusCode.UNAUTHENTICATED
    assert dict(error.initial_metadata())["request_id"]


def test_unknown_methods_need_a_key_too(service, azureml):
    """Whoever has no key learns nothing about methods; with a key a missing one is UNIMPLEMENTED."""
    call = service.channel().unary_unary("/tensorflow.serving.PredictionService/Nothing")

    with pytest.raises(grpc.RpcError) as without:
        call(b"", timeout=10)
    with pytest.raises(grpc.RpcError) as having:
        call(b"", timeout=10, metadata=azureml())

    assert without.value.code() is StatusCode.UNAUTHENTICATED
    assert having.value.code() is StatusCode.UNIMPLEMENTED


def test_health_needs_no_key(service):
    """Probes ask without a key."""
    assert service.health("tensorflow.serving.PredictionService") == 1


def test_auth_disabled(start, image, request_of):
    """With auth off nobody is asked for a key, and there need be no key file."""
    open_service = start(auth_enabled=False, keys_file="")

    response, _ = open_service.predict(request_of(image()), metadata=())

    assert response.outputs


def test_rotation_under_a_running_server(start, image, request_of, azureml):
    """A replaced key file takes effect with the next call; a damaged one leaves the last good keys in force."""
    own = start()
    keys_file = own.folder / "keys.json"

    write_key_file(keys_file, ["new-key-0123456789abcdef"])

    assert own.refusal(request_of(image())).code() is StatusCode.UNAUTHENTICATED
    own.predict(request_of(image()), metadata=azureml("new-key-0123456789abcdef"))

    keys_file.write_text("{", encoding="ascii")

    own.predict(request_of(image()), metadata=azureml("new-key-0123456789abcdef"))
    assert "damaged" in own.events("keys")[-1]["problem"]


def test_keys_leave_no_trace(start, image, request_of, azureml):
    """Keys are in no log line, process argument, environment variable or file of the service."""
    own = start()
    own.predict(request_of(image()))
    own.refusal(request_of(image()), metadata=azureml(SECONDARY + "-wrong"))
    process = Path(f"/proc/{own.process.pid}")

    places = [process / "cmdline", process / "environ", *(path for path in own.folder.iterdir() if path.is_file())]
    found = [str(place) for place in places for key in (PRIMARY, SECONDARY) if key.encode() in place.read_bytes()]

    assert len(places) >= 5
    assert found == []
