"""service.json: read, written, and every problem at once."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.server.config import ServiceConfig


def config(**settings: Any) -> ServiceConfig:
    return ServiceConfig(**{"name": "digits", "keys_file": "keys.json", "device_lock_file": "fpga.json", **settings})


def test_written_and_read_back(tmp_path):
    """What is written reads back equal, and nothing else is left in the folder."""
    original = config(port=1234, drain_seconds=2.5, replica_max_concurrent_requests=4)

    original.write(tmp_path / "service.json")

    assert ServiceConfig.read(tmp_path / "service.json") == original
    assert [path.name for path in tmp_path.iterdir()] == ["service.json"]


def test_settings_are_public():
    """Names of settings are what other parts write; a rename is a decision."""
    assert sorted(field.name for field in dataclasses.fields(ServiceConfig)) == [
        "access_log",
        "auth_enabled",
        "device_lock_file",
        "drain_seconds",
        "engine",
        "handshake_timeout_seconds",
        "hang_timeout_ms",
        "health_port",
        "http_enabled",
        "http_port",
        "image",
        "initial_delay_seconds",
        "keys_file",
        "lame_duck_seconds",
        "listen_address",
        "max_concurrent_streams",
        "max_connections",
        "max_received_bytes",
        "max_request_bytes",
        "max_request_wait_time_ms",
        "metrics_open",
        "model_root",
        "name",
        "otlp_endpoint",
        "port",
        "receive_timeout_seconds",
        "replica_max_concurrent_requests",
        "scoring_timeout_ms",
        "ssl_cert_pem_file",
        "ssl_client_ca_pem_file",
        "ssl_key_pem_file",
        "strict_model_spec",
        "tensor_content_replies",
        "threads",
        "token_auth_enabled",
        "token_keys_file",
    ]


def test_all_problems_in_one_message():
    """Wrong values are told together."""
    with pytest.raises(ConfigInvalid) as raised:
        config(
            name="",
            port=-1,
            replica_max_concurrent_requests=0,
            drain_seconds=-1.0,
            listen_address="localhost",
            keys_file="",
        )

    for word in ("name", "port", "replica_max_concurrent_requests", "drain_seconds", "listen_address", "keys_file"):
        assert word in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": "50051"}, "port must be a whole number, not str"),
        ({"port": True}, "port must be a whole number, not bool"),
        ({"auth_enabled": 1}, "auth_enabled must be true or false"),
        ({"name": None}, "name must be a string"),
        ({"drain_seconds": "1"}, "drain_seconds must be a number"),
    ],
)
def test_wrong_types(settings, words):
    """A value of another type is refused by name."""
    with pytest.raises(ConfigInvalid, match=words):
        config(**settings)


def test_engine():
    """The engine is chosen by itself unless a known one is named."""
    assert config().engine == "auto"
    assert config(engine="native").engine == "native"
    with pytest.raises(ConfigInvalid, match="auto, onnxruntime, native"):
        config(engine="gpu")


def test_unknown_and_missing_keys(tmp_path):
    """Unknown and missing keys are told together, with the file."""
    path = tmp_path / "service.json"
    path.write_text(json.dumps({"name": "digits", "prot": 1}))

    with pytest.raises(ConfigInvalid) as raised:
        ServiceConfig.read(path)

    assert "unknown key 'prot'" in str(raised.value)
    assert "device_lock_file is missing" in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_unreadable_files(tmp_path, content):
    """A missing or broken file is ConfigInvalid."""
    path = tmp_path / "service.json"
    if content is not None:
        path.write_text(content)

    with pytest.raises(ConfigInvalid, match="service configuration"):
        ServiceConfig.read(path)


def test_auth_off_needs_no_key_file():
    """Without auth there need be no keys."""
    assert config(auth_enabled=False, keys_file="").keys_file == ""


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"port": 9000, "health_port": 9000}, "port and health_port are both 9000"),
        ({"http_enabled": True, "http_port": 9000, "health_port": 9000}, "http_port and health_port are both 9000"),
        ({"http_enabled": True, "port": 9000, "http_port": 9000}, "port and http_port are both 9000"),
    ],
)
def test_ports_of_their_own(settings, words):
    """Two doors on one port are told, whichever two they are."""
    with pytest.raises(ConfigInvalid, match=words):
        config(**settings)


def test_ports_that_are_not_taken():
    """Port 0, and the port of HTTP that is off, collide with nothing."""
    assert config(port=0, http_enabled=True, http_port=0).health_port == 0
    assert config(http_port=9000, health_port=9000).health_port == 9000
