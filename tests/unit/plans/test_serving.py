"""Which of a web service's settings go together, told before anything is deployed."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from accelform.plans import serving
from accelform_runtime.errors import ConfigInvalid
from accelform_runtime.server.config import ServiceConfig

TLS = {"ssl_enabled": True, "ssl_cert_pem_file": "cert.pem", "ssl_key_pem_file": "key.pem"}


def reasons(inputs: dict[str, Any], pending: tuple[str, ...] = ()) -> dict[str, str]:
    return {row.property: row.reason for row in serving.problems(inputs, pending=pending)}


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        ({}, True),
        ({"auth_enabled": True}, True),
        ({"auth_enabled": False}, False),
        ({"token_auth_enabled": True}, False),
        ({"token_auth_enabled": False}, True),
    ],
)
def test_keys_are_wanted_unless_tokens_are(inputs, wanted):
    """A service that nobody decided about asks for keys; one that asks for tokens does not."""
    assert serving.keys_wanted(inputs) is wanted


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"auth_enabled": True, "token_auth_enabled": True}, {"token_auth_enabled": "exclude each other"}),
        ({"token_key_generation": 2}, {"token_key_generation": "needs token_auth_enabled: true"}),
        ({"ssl_enabled": True, "ssl_cert_pem_file": "c.pem"}, {"ssl_enabled": "needs ssl_key_pem_file"}),
        ({"ssl_cname": "a.example"}, {"ssl_cname": "ssl_enabled is not true, so calls would go unencrypted"}),
        ({"metrics_open": True}, {"metrics_open": "needs http_enabled: true"}),
        ({"http_enabled": True, "port": 8501, "http_port": 8501}, {"http_port": "a port of its own"}),
        ({"engine": "gpu"}, {"engine": "one of auto, onnxruntime, native, not 'gpu'"}),
        ({"otlp_endpoint": "collector:4317"}, {"otlp_endpoint": "http://HOST:PORT"}),
        ({"port": 0, "http_port": 65536}, {"port": "between 1 and 65535", "http_port": "between 1 and 65535"}),
        ({"drain_seconds": -1, "lame_duck_seconds": 3601}, {"drain_seconds": "between 0", "lame_duck_seconds": "3600"}),
        ({"primary_key_generation": 0}, {"primary_key_generation": "at least 1, not 0"}),
    ],
)
def test_settings_that_do_not_go_together_are_named(inputs, said):
    """Each mistake is told under the name that was written, with the way out."""
    found = reasons(inputs)

    assert found.keys() == said.keys()
    assert all(words in found[name] for name, words in said.items())


def test_what_is_not_known_yet_is_not_complained_about():
    """A value that only the deployment will tell counts as given."""
    assert reasons({"ssl_enabled": True}, pending=("ssl_cert_pem_file", "ssl_key_pem_file")) == {}
    assert reasons({"ssl_cert_pem_file": "c.pem"}, pending=("ssl_enabled",)) == {}
    assert reasons({"metrics_open": True}, pending=("http_enabled",)) == {}
    assert reasons({"token_key_generation": 2}, pending=("token_auth_enabled",)) == {}


def test_a_password_for_the_collector_is_not_repeated():
    """An address with a password in it is refused without showing it, also not as a property's value."""
    assert reasons({"otlp_endpoint": "http://me:hunter2@collector:4317"}) == {
        "": "otlp_endpoint must not hold a user name or a password"
    }


def test_own_keys_need_keys_to_be_on_and_no_generation():
    """A key that would never be asked for, and a generation that generates nothing, are mistakes."""
    off = serving.key_problems({"primary_key": "x" * 8, "token_auth_enabled": True})
    counted = serving.key_problems({"primary_key": "x" * 8, "primary_key_generation": 2, "secondary_key_generation": 2})

    assert [row.reason for row in off] == ["primary_key given but calls need a token; drop one of the two"]
    assert [row.property for row in counted] == ["primary_key_generation"]
    assert all("x" * 8 not in row.reason for row in (*off, *counted))


def test_the_uri_follows_tls_and_name():
    """With TLS the scheme is https, and the host is the name that the certificate is for."""
    assert serving.uri({}, 50051) == "http://127.0.0.1:50051"
    assert serving.uri({"ssl_enabled": True, "ssl_cname": "a.example"}, 50051) == "https://a.example:50051"
    assert serving.uri({"ssl_enabled": True, "ssl_cname": "a.example"}, 443) == "https://a.example"
    assert serving.uri({}, 80) == "http://127.0.0.1"
    assert serving.uri({}, 443) == "http://127.0.0.1:443"
    assert serving.uri({"ssl_cname": "::1"}, 80) == "http://[::1]"


def test_what_passes_here_passes_the_server():
    """Combinations without a problem make settings that the server takes, so that no deployment fails late."""
    values: dict[str, tuple[Any, ...]] = {
        "auth_enabled": (True, False),
        "token_auth_enabled": (True, False),
        "ssl": (TLS, {"ssl_enabled": False}, {**TLS, "ssl_client_ca_pem_file": "ca.pem"}),
        "http_enabled": (True, False),
        "http_port": (8501, 50051),
        "otlp_endpoint": ("", "https://collector.example:4317", "https://collector.example"),
        "engine": ("auto", "native", "fpga"),
    }
    taken = 0
    for choice in itertools.product(*values.values()):
        inputs = dict(zip(values, choice, strict=True))
        inputs |= {**inputs.pop("ssl"), "port": 50051}
        try:
            ServiceConfig(
                name="digits",
                device_lock_file="lock",
                keys_file="keys.json",
                token_keys_file="tokens.pem",
                **{name: value for name, value in inputs.items() if name != "ssl_enabled"},
            )
        except ConfigInvalid:
            assert serving.problems(inputs)
        else:
            assert serving.problems(inputs) == []
            taken += 1
    assert taken
