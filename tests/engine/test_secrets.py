"""Keys: encrypted in the state, and absent from everything that is printed, logged or visible to other processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OWN_KEY = "own-primary-key-8d1f7c2e9a"


def test_keys_stay_secret(project: Any) -> None:
    """A user's own key and a generated one work, and appear nowhere in clear."""
    project.pulumi("config", "set", "--secret", "accelform:primary_key", OWN_KEY)
    texts = [project.pulumi("preview", "--diff").text, project.up("--diff").text]
    outputs = project.outputs()
    keys = [outputs["primary_key"], outputs["secondary_key"]]
    assert keys[0] == OWN_KEY
    assert len(keys[1]) >= 32
    scored = project.score()
    assert scored.returncode == 0, scored.stderr

    texts += [
        scored.stdout + scored.stderr,
        json.dumps(project.state()),
        project.pulumi("stack", "output").text,
        *_files(project.box),
        *_files(Path(project.environment["PULUMI_BACKEND_URL"].removeprefix("file://"))),
        *_process_texts(project.folder),
    ]
    for key in keys:
        assert all(key not in text for text in texts)

    project.pulumi("config", "set", "accelform:auth_enabled", "false")
    refused = project.pulumi("preview", "--diff", check=False)
    assert "auth_enabled is false" in refused.text
    assert OWN_KEY not in refused.text


def test_keys_stay_when_the_image_changes(project: Any) -> None:
    """Clients keep their keys over an update of the service; a new own key replaces the old one."""
    project.up()
    before = project.outputs()
    project.configure(model_path="examples/digits/model-parity.yaml")
    project.up()
    after = project.outputs()
    assert (after["primary_key"], after["secondary_key"]) == (before["primary_key"], before["secondary_key"])

    project.pulumi("config", "set", "--secret", "accelform:secondary_key", OWN_KEY)
    project.up()
    assert project.outputs()["secondary_key"] == OWN_KEY
    assert project.outputs()["primary_key"] == before["primary_key"]
    assert project.score().returncode == 0


def _files(folder: Path) -> list[str]:
    """Every small file below `folder`, as text."""
    return [
        path.read_bytes().decode(errors="replace")
        for path in folder.rglob("*")
        if path.is_file() and path.stat().st_size < 1_000_000
    ]


def _process_texts(folder: Path) -> list[str]:
    """Arguments and environments of the processes that belong to `folder`."""
    texts = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace")
            if entry.name.isdigit() and str(folder) in arguments:
                texts += [arguments, (entry / "environ").read_bytes().decode(errors="replace")]
        except OSError:
            continue
    assert texts, "the service's processes are visible to this test"
    return texts
