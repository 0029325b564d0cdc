"""Ctrl-C, and a polite kill: what runs ends at once, leaves nothing half-made, and the next `up` goes through."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

MODEL = "featurizer: resnet152\nweights: {source: seeded, seed: 0}\n"
LONGEST_SECONDS = 60
"""Far more than it takes, and far less than a conversion of this network that is not ended."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_a_conversion_ends_when_it_is_cancelled(project: Any, tmp_path: Path, number: signal.Signals) -> None:
    """The conversion measures many images, which would take minutes; it is cancelled as soon as it has begun."""
    images = project.folder / "many"
    images.mkdir()
    example = (project.folder / "examples" / "digits" / "images" / "digit-3.png").read_bytes()
    for index in range(2000):
        (images / f"{index}.png").write_bytes(example)
    (project.folder / "large.yaml").write_text(MODEL)
    project.configure(model_path="large.yaml", calibration_images="many")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    command = ["pulumi", "up", "--yes", "--skip-preview", "-s", project.stack, "--non-interactive", "--color", "never"]
    with subprocess.Popen(
        command,
        cwd=project.folder,
        env={**project.environment, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        begun, lines = threading.Event(), []

        def listen() -> None:
            for line in running.stdout or ():
                lines.append(line)
                if ".accelonnx)" in line:
                    begun.set()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            assert begun.wait(600), "".join(lines)
            running.send_signal(number)
            assert running.wait(LONGEST_SECONDS) != 0
        finally:
            running.kill()
            listener.join()

    text = "".join(lines)
    assert "of ConvertedModel was cancelled" in text, text
    assert "Traceback" not in text
    state = project.state()
    assert [row["type"].rpartition(":")[2] for row in state["resources"] if "accel" in row["type"]] == [
        "Workspace",
        "Model",
    ]
    assert not state.get("pending_operations")
    assert [path.parts[-3] for path in project.store.rglob("manifest.json")] == ["resnet50-digits"]
    assert [path for path in project.store.rglob("*") if "#" in path.name] == []
    assert [path.name for path in scratch.iterdir() if path.name.startswith("accelform-")] == []

    project.configure(model_path="examples/digits/model.yaml", calibration_images="")
    project.up()
    assert project.score().returncode == 0
    project.destroy()
    assert not project.store.exists()
