"""States that earlier versions of this library wrote: a preview shows nothing that nobody changed, and `up` works.

`data/states` has exported states as they were written then. What a state knows of this machine and of the runtime in
the image is taken from a deployment made here; which inputs and outputs a resource has is taken from the old one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.ports import free_port
from tests.support.projects import Project

STATES = Path(__file__).parent / "data" / "states"


def _with_tls(project: Project) -> None:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    (project.folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
    (project.folder / "key.pem").write_bytes(certificate.private_key_pem.bytes())
    project.configure(
        ssl_enabled=True,
        ssl_cert_pem_file="cert.pem",
        ssl_key_pem_file="key.pem",
        ssl_cname="127.0.0.1",
        http_enabled=True,
        http_port=free_port(),
        metrics_open=True,
        drain_seconds=7,
        lame_duck_seconds=1,
        model_tags={"team": "vision"},
    )
    project.pulumi("config", "set", "--secret", "accelform:primary_key", "first-key-of-before-1234")


@pytest.mark.parametrize(("recorded", "configure"), [("edge", None), ("edge-tls", _with_tls)])
def test_a_state_of_before_shows_no_change(project: Project, recorded: str, configure: Any) -> None:
    """Settings that came later are no difference, and nothing is replaced; the service serves on."""
    if configure is not None:
        configure(project)
    project.up()
    former = json.loads((STATES / f"{recorded}.json").read_text(encoding="utf-8"))
    exported = json.loads(project.pulumi("stack", "export", "--show-secrets").text)
    exported["deployment"]["resources"] = [
        _as_before(row, former["resources"]) for row in exported["deployment"]["resources"]
    ]
    (project.folder / "state.json").write_text(json.dumps(exported), encoding="utf-8")
    project.pulumi("stack", "import", "--file", str(project.folder / "state.json"))

    foretold = project.pulumi("preview")
    done = project.up()

    assert foretold.steps("resourcePreEvent") == [], foretold.text
    assert done.steps() == [], done.text
    assert project.score().returncode == 0


def _as_before(resource: dict[str, Any], former: list[dict[str, Any]]) -> dict[str, Any]:
    """A resource with the inputs and outputs that it had then."""
    (then,) = [row for row in former if row["urn"] == resource["urn"]]
    kept: dict[str, Any] = {
        part: {name: value for name, value in resource[part].items() if name in then[part]}
        for part in ("inputs", "outputs")
        if part in resource and part in then
    }
    missing = {name for part, values in kept.items() for name in then[part].keys() - values.keys()}
    assert not missing, f"{resource['type']} lost {', '.join(sorted(missing))}"
    return {**resource, **kept}
