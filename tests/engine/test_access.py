"""Who may call a service, declared: TLS, keys and tokens, renewed by `pulumi up` while the service goes on."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trustme

from accelform.targets.edge import processes
from accelform_runtime.client import PredictionClient
from accelform_runtime.errors import KeyRefused

TLS = """
pulumi config set accelform:ssl_enabled true
pulumi config set accelform:ssl_cert_pem_file cert.pem
pulumi config set accelform:ssl_key_pem_file key.pem
pulumi config set accelform:ssl_cname localhost
"""
ANOTHER_KEY = "pulumi config set accelform:primary_key_generation 2"
TOKENS = "pulumi config set accelform:token_auth_enabled true"
TOKEN = "accelform token --stack edge --lifetime 15m"
"""What docs/edge.md prints, before and after its `pulumi up`."""


def typed(project: Any, commands: str) -> None:
    for command in commands.strip().splitlines():
        project.pulumi(*shlex.split(command)[1:])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def issue(authority: trustme.CA, folder: Path) -> str:
    """Writes cert.pem and key.pem into the project; returns a line of the private key."""
    leaf = authority.issue_cert("localhost")
    (folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(folder / "key.pem")
    return leaf.private_key_pem.bytes().decode().splitlines()[1]


def score(project: Any, key: str, roots: bytes | None = None) -> None:
    """Scores one image with `key`, as a client that trusts `roots`; raises what the client raises."""
    picture = project.folder / "examples" / "digits" / "images" / "digit-3.png"
    uri = project.outputs()["scoring_uri"]
    with PredictionClient(uri, access_token=key, root_certificates=roots) as client:
        client.score_file(picture, timeout_seconds=30)


@pytest.mark.timeout(1800)
def test_certificate_and_key_are_renewed_without_a_pause(project: Any, authority: trustme.CA) -> None:
    """One update in place renews certificate and primary key; the process stays, and no private key is in a state."""
    secrets = [issue(authority, project.folder)]
    typed(project, TLS)
    texts = [project.pulumi("preview", "--diff").text, project.up("--diff").text]
    before = project.outputs()
    assert before["scoring_uri"] == f"https://localhost:{project.port}"
    scored = project.score()
    assert scored.returncode == 0, scored.stderr
    server = processes.servers(project.box)

    secrets.append(issue(authority, project.folder))
    typed(project, ANOTHER_KEY)
    renewed = project.up("--diff")
    after = project.outputs()

    assert renewed.steps() == [("update", "Webservice")]
    assert "pauses" not in renewed.text
    assert processes.servers(project.box) == server
    assert after["ssl_certificate"] != before["ssl_certificate"]
    assert after["primary_key"] != before["primary_key"]
    assert after["secondary_key"] == before["secondary_key"]
    roots = authority.cert_pem.bytes()
    score(project, after["primary_key"], roots)
    score(project, after["secondary_key"], roots)
    with pytest.raises(KeyRefused):
        score(project, before["primary_key"], roots)
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0

    texts += [renewed.text, json.dumps(project.state()), *_backend(project)]
    assert all(secret not in text for secret in secrets for text in texts)
    project.destroy()


@pytest.mark.timeout(1800)
def test_tokens_are_signed_renewed_and_ended(project: Any) -> None:
    """`accelform token` gives access; after one renewal its tokens still do, after another they do not."""
    typed(project, TOKENS)
    texts = [project.up("--diff").text]
    outputs = project.outputs()
    assert (outputs["primary_key"], outputs["secondary_key"]) == ("", "")
    token = _token(project)
    score(project, token)
    with pytest.raises(KeyRefused):
        score(project, "not-a-token-at-all")
    scored = project.score()
    assert scored.returncode == 0, scored.stderr
    server = processes.servers(project.box)

    for generation in (2, 3):
        project.configure(token_key_generation=generation)
        texts.append(project.up("--diff").text)
        score(project, _token(project))
        if generation == 2:
            score(project, token)
    with pytest.raises(KeyRefused):
        score(project, token)
    assert processes.servers(project.box) == server

    texts += [json.dumps(project.state()), project.pulumi("stack", "output").text, *_backend(project)]
    secret = outputs["token_signing_key"].splitlines()[1]
    assert all(secret not in text for text in texts)
    project.destroy()


def _token(project: Any) -> str:
    answer = subprocess.run(
        shlex.split(TOKEN),
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def _backend(project: Any) -> list[str]:
    """What Pulumi keeps on disk."""
    folder = Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    return [path.read_bytes().decode(errors="replace") for path in folder.rglob("*") if path.is_file()]
