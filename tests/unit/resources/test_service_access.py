"""ServiceAccess: keys that stay, keys that change, files that servers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from accelform.resources.service_access import CONTRACT, ServiceAccess, ServiceAccessProvider
from accelform_runtime.keys import KeyFile

OWNER = "accelform/westus2/access"


def checked(**inputs: Any) -> dict[str, Any]:
    result = ServiceAccessProvider().check({}, {"name": "net", "owner": OWNER, **inputs})
    assert not result.failures, [failure.reason for failure in result.failures]
    return dict(result.inputs)


def made(**inputs: Any) -> dict[str, Any]:
    return dict(ServiceAccessProvider().create(checked(**inputs)).outs)


def updated(stored: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return dict(ServiceAccessProvider().update("net", stored, checked(**inputs)).outs)


def test_its_token_is_a_contract() -> None:
    """States name it so."""
    assert CONTRACT.token == "pulumi-python:dynamic/accel:ServiceAccess"
    assert ServiceAccess.__module__ == "accelform.resources.service_access"
    assert {"service_keys", "keys_file", "tls_file", "token_signing_key", "probe_file"} <= set(CONTRACT.secrets)


def test_the_file_holds_hashes_of_both_keys(tmp_path: Path) -> None:
    """A server that reads keys.json takes both keys, and the file has neither."""
    access = made()
    path = tmp_path / "keys.json"
    path.write_text(access["keys_file"])
    path.chmod(0o600)

    keys = KeyFile(path)
    assert all(keys.verify(key) for key in access["service_keys"].values())
    assert not any(key in access["keys_file"] for key in access["service_keys"].values())


def test_only_another_generation_makes_another_key() -> None:
    """An update that leaves the keys alone leaves the file alone, salts and all; one key changes without the other."""
    first = made()

    same = updated(first, token_key_generation=1)
    rotated = updated(first, primary_key_generation=2)

    assert (same["service_keys"], same["keys_file"]) == (first["service_keys"], first["keys_file"])
    assert rotated["service_keys"]["primary"] != first["service_keys"]["primary"]
    assert rotated["service_keys"]["secondary"] == first["service_keys"]["secondary"]
    assert json.loads(rotated["keys_file"]) != json.loads(first["keys_file"])


def test_tokens_instead_of_keys() -> None:
    """With tokens there is no key; the next generation keeps the last one's tokens valid."""
    first = made(token_auth_enabled=True)
    second = updated(first, token_auth_enabled=True, token_key_generation=2)

    assert (first["service_keys"], first["keys_file"]) == ({}, "")
    assert first["token_keys_file"] == first["token_public_keys"][0]
    assert second["token_public_keys"][1] == first["token_public_keys"][0]
    assert second["token_keys_file"].count("BEGIN PUBLIC KEY") == 2


def test_tls_files_go_into_one(tmp_path: Path) -> None:
    """Key and certificate are one file; authorities are joined by the deployment's own client, which stays the same."""
    authority = trustme.CA()
    certificate = authority.issue_cert("fpga.example.com")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (tmp_path / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    tls = {
        "ssl_enabled": True,
        "ssl_cname": "fpga.example.com",
        "ssl_cert_pem_file": str(tmp_path / "cert.pem"),
        "ssl_key_pem_file": str(tmp_path / "key.pem"),
        "ssl_client_ca_pem_file": str(tmp_path / "ca.pem"),
    }

    first = made(**tls)
    for file in tmp_path.glob("*.pem"):  # as an editor of another system saves it
        file.write_text(file.read_text().replace("\n", "\r\n"), encoding="utf-16", newline="")
    second = updated(first, **tls, primary_key_generation=2)

    assert first["tls_file"].startswith("-----BEGIN")
    assert "PRIVATE KEY" in first["tls_file"]
    assert "PRIVATE KEY" not in first["ssl_certificate"]
    assert first["client_ca_file"].count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE KEY" not in first["client_ca_file"]
    assert (second["probe_file"], second["client_ca_file"]) == (first["probe_file"], first["client_ca_file"])
    assert first["ssl_cert_digest"].startswith("sha256:")
    assert [second[name] for name in ("tls_file", "ssl_cert_digest")] == [
        first[name] for name in ("tls_file", "ssl_cert_digest")
    ]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"name": "Loud"}, "is not a valid name"),
        ({"auth_enabled": True, "token_auth_enabled": True}, "exclude each other"),
        ({"ssl_enabled": True}, "needs ssl_cert_pem_file"),
        ({"primary_key": "mine-mine-mine", "primary_key_generation": 2}, "nothing to generate"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_made(inputs: dict[str, Any], words: str) -> None:
    """The rules are the web service's own."""
    result = ServiceAccessProvider().check({}, {"name": "net", "owner": OWNER, **inputs})

    assert words in " ".join(failure.reason for failure in result.failures)
    assert "mine-mine-mine" not in str(result.failures)
