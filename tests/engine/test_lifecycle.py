"""The life of a stack as its users see it: up, nothing to do, a tag, another classifier, down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import processes_below

CREATE_ORDER = ["Workspace", "Model", "ConvertedModel", "Image", "ComputeTarget", "Webservice"]
CLASSES = {"even", "odd"}


def test_life_of_a_stack(project: Any) -> None:
    """One stack through its whole life; each stage stands on the one before."""
    preview = project.pulumi("preview", "--diff")
    assert not (project.folder / ".accelform").exists(), "a preview leaves nothing behind"
    assert "predicted_latency_ms" in preview.text, "the forecast is known before anything is deployed"

    made = project.up()
    assert made.steps() == [("create", kind) for kind in CREATE_ORDER]
    assert "53/53 layers quantised" in made.text, "progress is shown, the number first"
    assert "Diagnostics:" not in made.text, "what was progress is not repeated below the result"
    outputs = project.outputs()
    assert (outputs["model_version"], outputs["converted_model_version"]) == (1, 1)
    assert 1.77 <= outputs["predicted_latency_ms"] <= 1.79
    assert outputs["scoring_uri"] == f"http://127.0.0.1:{project.port}"
    assert _scored_class(project) == "3"

    assert project.pulumi("preview", "--expect-no-changes").steps("resourcePreEvent") == []
    assert project.up("--expect-no-changes").steps() == []

    project.configure(model_tags={"team": "vision"})
    foretold = project.pulumi("preview")
    assert _changes(foretold) == {"update": 1}, foretold.text
    assert project.up().steps() == [("update", "Model")]
    assert project.pulumi("preview", "--expect-no-changes").code == 0

    before = set(_versions(project.store))
    project.configure(model_path="examples/digits/model-parity.yaml")
    foretold = project.pulumi("preview")
    replaced = project.up()
    assert _changes(foretold) == {"replace": 3, "update": 1}, foretold.text
    assert [step for step in replaced.steps() if step[0] in ("create-replacement", "update", "delete-replaced")] == [
        ("create-replacement", "Model"),
        ("create-replacement", "ConvertedModel"),
        ("create-replacement", "Image"),
        ("update", "Webservice"),
        ("delete-replaced", "Image"),
        ("delete-replaced", "ConvertedModel"),
        ("delete-replaced", "Model"),
    ]
    assert "paused" in replaced.text, "the pause of the move is announced"
    assert before.isdisjoint(_versions(project.store)), "old versions are gone once nothing needs them"
    assert project.outputs()["model_version"] == 2
    assert _scored_class(project) in CLASSES

    assert _started_for(project.folder)
    assert project.destroy().steps() == [("delete", kind) for kind in reversed(CREATE_ORDER)]
    assert not (project.folder / ".accelform").exists() or not any((project.folder / ".accelform").iterdir())
    assert _started_for(project.folder) == []
    assert project.state().get("resources", []) == []

    project.configure(model_path="examples/digits/model.yaml", model_tags={"team": "another"})
    project.up()
    assert project.outputs()["image_location"] == outputs["image_location"], "the same input builds the same digest"
    project.destroy()


def _scored_class(project: Any) -> str:
    scored = project.score("digit-3.png")
    assert scored.returncode == 0, scored.stdout + scored.stderr
    answer = json.loads(scored.stdout)
    assert answer["fpga"]["latency_ms"] == pytest.approx(1.78, abs=0.02)
    assert answer["round_trip_ms"] > 0
    return str(answer["predictions"][0]["label"])


def _changes(outcome: Any) -> dict[str, int]:
    """The engine's own summary of what it would do, unchanged resources left out."""
    summary = next(row["summaryEvent"]["resourceChanges"] for row in outcome.events if "summaryEvent" in row)
    return {operation: count for operation, count in summary.items() if operation != "same"}


def _versions(store: Path) -> list[str]:
    return [str(path.parent.relative_to(store)) for path in store.rglob("manifest.json")]


def _started_for(folder: Path) -> list[int]:
    return [pid for pid, command in processes_below(folder) if str(folder) in command]
