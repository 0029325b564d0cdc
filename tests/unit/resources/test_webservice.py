"""What a web service's inputs foretell and refuse, and what becomes of its keys from one deployment to the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import contains_unknowns
from tests.support.ports import free_port

from accelform.errors import TlsFileUnusable
from accelform.resources import webservice_access
from accelform.resources.webservice import WebserviceProvider

PROVIDER = WebserviceProvider()


class Tls:
    """TLS files in the project's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.issue()

    def issue(self, *names: str) -> None:
        leaf = self.authority.issue_cert(*(names or ("localhost", "127.0.0.1")))
        leaf.private_key_pem.write_to_path(self.folder / "key.pem")
        (self.folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))

    @property
    def inputs(self) -> dict[str, Any]:
        return {"ssl_enabled": True, "ssl_cert_pem_file": "cert.pem", "ssl_key_pem_file": "key.pem"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project folder, where relative paths start."""
    (tmp_path / "Pulumi.yaml").write_text("name: accelform\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tls(project: Path) -> Tls:
    return Tls(project)


def check(**changes: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """Checked inputs, and the failures as {property: reason}."""
    inputs = {
        "name": "digits",
        "target_kind": "edge",
        "target_name": "edge-box",
        "target_fpgas": 1,
        "edge_root": "edge",
        "storage_url": "store",
        "image_name": "digits",
        "image_fingerprint": "sha256:1",
        "image_owner": "a/b/image",
        "owner": "a/b/webservice",
        "port": free_port(),
        **changes,
    }
    answer = PROVIDER.check({}, inputs)
    return answer.inputs, {row.property: row.reason for row in answer.failures}


def test_tls_is_foretold(tls: Tls) -> None:
    """With TLS the preview knows the https URIs, when the certificate ends, and which one it is."""
    inputs, failures = check(**tls.inputs, ssl_cname="localhost", http_enabled=True, http_port=1234)

    assert failures == {}
    assert inputs["scoring_uri"] == f"https://localhost:{inputs['port']}"
    assert inputs["http_uri"] == "https://localhost:1234"
    assert inputs["ssl_cert_digest"].startswith("sha256:")
    assert inputs["ssl_cert_expires"].endswith("Z")
    assert (inputs["auth_enabled"], inputs["ssl_client_ca_digest"]) == (True, "")


def test_a_renewed_certificate_is_an_update_in_place(tls: Tls) -> None:
    """The paths stay and the identity changes, so that a preview shows it; nothing is replaced."""
    before, _ = check(**tls.inputs, port=50061)
    tls.issue()
    after, failures = check(**tls.inputs, port=50061)

    changed = {name for name in after if after[name] != before[name]}
    assert failures == {}
    assert changed <= {"ssl_cert_digest", "ssl_cert_expires"}
    assert "ssl_cert_digest" in changed
    assert PROVIDER.diff("digits", before, after).replaces == []


def test_no_private_key_is_among_the_inputs(tls: Tls, project: Path) -> None:
    """Inputs are stored in clear: they hold paths, and no part of the key's content."""
    inputs, _ = check(**tls.inputs)

    lines = (project / "key.pem").read_text().splitlines()[1:-1]
    assert lines
    assert not any(line in str(inputs) for line in lines)


def test_wrong_tls_files_are_named(tls: Tls, project: Path) -> None:
    """Missing, swapped and unsuitable files are problems of the property that names them, told together."""
    _, missing = check(**{**tls.inputs, "ssl_key_pem_file": "nowhere.pem"}, ssl_client_ca_pem_file="gone.pem")
    _, swapped = check(ssl_enabled=True, ssl_cert_pem_file="key.pem", ssl_key_pem_file="cert.pem")
    _, elsewhere = check(**tls.inputs, ssl_cname="a.example")

    assert "nowhere.pem cannot be read: No such file" in missing["ssl_key_pem_file"]
    assert "gone.pem cannot be read" in missing["ssl_client_ca_pem_file"]
    assert "holds no certificate" in swapped["ssl_cert_pem_file"]
    assert "holds no private key" in swapped["ssl_key_pem_file"]
    assert "for localhost, 127.0.0.1, and not for a.example" in elsewhere["ssl_cert_pem_file"]


def test_a_path_that_is_not_known_yet_foretells_nothing(project: Path) -> None:
    """A certificate that another resource will write leaves its identity unknown instead of failing."""
    inputs, failures = check(ssl_enabled=True, ssl_cert_pem_file=UNKNOWN, ssl_key_pem_file=UNKNOWN)

    assert failures == {}
    assert contains_unknowns(inputs["ssl_cert_digest"])


def test_tokens_switch_keys_off_and_both_are_refused(project: Path) -> None:
    """auth_enabled left out follows token_auth_enabled; both given true is a mistake."""
    inputs, failures = check(token_auth_enabled=True)
    _, both = check(token_auth_enabled=True, auth_enabled=True)

    assert (failures, inputs["auth_enabled"]) == ({}, False)
    assert "exclude each other" in both["token_auth_enabled"]


def test_files_that_change_between_check_and_deploy_are_refused(tls: Tls) -> None:
    """What is deployed is what was shown in the preview."""
    inputs, _ = check(**tls.inputs)
    deployed = webservice_access.tls_files(inputs)
    assert deployed is not None
    assert deployed.private_key.startswith(b"-----BEGIN PRIVATE KEY-----")
    assert b"PRIVATE" not in deployed.certificate
    tls.issue()

    with pytest.raises(TlsFileUnusable, match="changed since they were checked"):
        webservice_access.tls_files(inputs)


def test_another_generation_makes_one_new_key(project: Path) -> None:
    """The other key stays, so that clients can move one after the other; the same number changes nothing."""
    inputs, _ = check()
    first = webservice_access.service_keys(inputs, {})
    stored = {**inputs, "service_keys": first}
    counted, _ = check(primary_key_generation=2)

    same = webservice_access.service_keys(inputs, stored)
    second = webservice_access.service_keys(counted, stored)
    third = webservice_access.service_keys(counted, {**counted, "service_keys": second})

    assert same == first
    assert second["primary"] not in first.values()
    assert second["secondary"] == first["secondary"]
    assert third == second


def test_a_state_of_before_generations_keeps_its_keys(project: Path) -> None:
    """What was deployed by an earlier version counts as the first generation."""
    inputs, _ = check()
    first = {"primary": "primary-primary", "secondary": "secondary-secondary"}

    assert webservice_access.service_keys(inputs, {"service_keys": first}) == first


def test_own_keys_win_and_no_keys_are_made_where_none_are_asked_for(project: Path) -> None:
    """A key from the configuration is taken as it is; with tokens, or with neither, there are no keys."""
    own, _ = check(primary_key="own-primary-key")
    tokens, _ = check(token_auth_enabled=True)
    nothing, _ = check(auth_enabled=False)

    assert webservice_access.service_keys(own, {})["primary"] == "own-primary-key"
    assert webservice_access.service_keys(tokens, {}) == webservice_access.service_keys(nothing, {}) == {}


def test_the_next_generation_of_tokens_overlaps_with_the_last(project: Path) -> None:
    """Counting up by one keeps the last public key valid, and only that; a larger step ends all earlier tokens."""

    def of(generation: int, stored: dict[str, Any]) -> tuple[dict[str, Any], webservice_access.TokenKeys]:
        inputs, failures = check(token_auth_enabled=True, token_key_generation=generation)
        assert failures == {}
        made = webservice_access.token_keys(inputs, stored)
        state = {**inputs, "token_signing_key": made.signing_key, "token_public_keys": list(made.public_keys)}
        return state, made

    state, first = of(1, {})
    _, again = of(1, state)
    state, second = of(2, state)
    state, third = of(3, state)
    _, apart = of(5, state)

    assert again == first
    assert len(first.public_keys) == 1
    assert second.public_keys[1:] == first.public_keys
    assert third.public_keys[1:] == second.public_keys[:1]
    assert len(apart.public_keys) == 1
    assert len({made.signing_key for made in (first, second, third, apart)}) == 4
    assert first.signing_key not in repr(first)
