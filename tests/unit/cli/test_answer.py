"""What `accelform score` prints of an answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from accelform.cli.answer import as_json, as_table
from accelform.cli.objects import Thresholds
from accelform_runtime.client import ScoreResult
from accelform_runtime.client.detection import OUTPUT_NAMES
from accelform_runtime.errors import DetectionInvalid

GRIDS, ANCHORS, KINDS = (37, 19, 10, 5, 3, 1), (4, 6, 6, 6, 4, 4), 3
LABELS = ("cat", "dog")


def answer(outputs: dict[str, np.ndarray]) -> ScoreResult:
    return ScoreResult(
        outputs=outputs,
        model_name="model",
        model_version=1,
        request_id="",
        round_trip_ms=1.0,
        server_ms=None,
        modelled=None,
    )


def detector(names: tuple[str, ...]) -> ScoreResult:
    """A dog in the middle that the last level sees, a less sure cat in a corner, background elsewhere."""
    scores = [np.zeros((1, grid, grid, boxes, KINDS), np.float32) for grid, boxes in zip(GRIDS, ANCHORS, strict=True)]
    boxes = [np.zeros((*array.shape[:-1], 4), np.float32) for array in scores]
    for array in scores:
        array[..., 0] = 9
    scores[5][0, 0, 0, 0] = (0, 0, 9)
    scores[3][0, 0, 0, 0] = (0, 2, 0)
    return answer(dict(zip(names, [*scores, *boxes], strict=True)))


@pytest.mark.parametrize("names", [OUTPUT_NAMES, tuple(f"out_{index}" for index in range(12))])
def test_objects(names):
    """A detector's twelve outputs, by tensor names or aliases, are shown as objects with labels and boxes."""
    lines = as_table(detector(names), labels=LABELS, top=5, thresholds=Thresholds()).splitlines()

    assert lines[0].split()[:2] == ["object", "probability"]
    assert [line.split()[0] for line in lines[1:3]] == ["dog", "cat"]
    assert "0.065, 0.065, 0.935, 0.935" in lines[1]


def test_objects_in_json():
    """The same for programs, as far as --top goes."""
    content = json.loads(
        as_json(Path("a.png"), detector(OUTPUT_NAMES), labels=LABELS, top=1, thresholds=Thresholds(select=0.9))
    )

    assert content["predictions"] == []
    (found,) = content["objects"]
    assert (found["class"], found["label"]) == (2, "dog")
    assert found["box"]["top"] == pytest.approx(0.065, abs=1e-6)
    assert found["probability"] == pytest.approx(1, abs=1e-3)


def test_no_objects():
    """Where nothing is probable enough the table says which option to turn."""
    text = as_table(detector(OUTPUT_NAMES), labels=(), top=5, thresholds=Thresholds(select=0.9999))

    assert "see --threshold" in text


def test_thresholds_out_of_range():
    """A threshold that means nothing is told, not corrected."""
    with pytest.raises(DetectionInvalid, match="select_threshold"):
        as_table(detector(OUTPUT_NAMES), labels=(), top=5, thresholds=Thresholds(select=1.5))


def test_scores_that_are_no_probabilities():
    """A classifier without softmax gives scores, which are not shown as percentages."""
    lines = as_table(
        answer({"scores": np.array([[3.5, -2.0]], np.float32)}), labels=LABELS, top=2, thresholds=Thresholds()
    ).splitlines()

    assert lines[0].split() == ["class", "score"]
    assert lines[1].split() == ["cat", "3.5"]
