"""Classifiers and detectors beside each other, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accelform.report.agreement import AgreementSums
from accelform.report.detection import DetectionSums, found_objects, matches, objects
from accelform_runtime.client.detection import GRIDS, OUTPUT_NAMES, RATIOS, Detections


def test_agreement_is_counted() -> None:
    """Same class; another class with the right one second; another class with the right one sixth."""
    sums = AgreementSums()
    sums.add(np.array([[0.7, 0.3, 0, 0, 0, 0, 0]]), np.array([[0.6, 0.4, 0, 0, 0, 0, 0]]), image="a", expected=0)
    sums.add(np.array([[0.6, 0.4, 0, 0, 0, 0, 0]]), np.array([[0.4, 0.6, 0, 0, 0, 0, 0]]), image="b", expected=1)
    sums.add(np.array([0.5, 0.1, 0.1, 0.1, 0.1, 0.1, 0]), np.array([0.1, 0.2, 0.2, 0.2, 0.15, 0.15, 0]), image="c")
    found = sums.result()

    assert (found.images, found.top1, found.top5) == (3, pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert found.score_distance == pytest.approx((0.1 + 0.2 + 0.4) / 3)
    assert (found.labelled, found.correct_float32, found.correct_format) == (2, 1, 2)
    assert [(change.image, change.float32_class, change.format_class) for change in found.disagreements] == [
        ("b", 0, 1),
        ("c", 0, 1),
    ]
    assert not found.softmax


def test_scores_become_probabilities_before_they_are_compared() -> None:
    """Scores of 0 and ln 3 are 1/4 and 3/4."""
    sums = AgreementSums()
    sums.add(np.array([0.0, np.log(3)]), np.array([0.0, 0.0]), image="a")

    assert sums.result().softmax
    assert sums.result().score_distance == pytest.approx(0.25)


def test_ties_are_no_disagreement_with_oneself() -> None:
    """Equal scores have an order: that of the classes."""
    sums = AgreementSums()
    sums.add(np.full(7, 1 / 7), np.full(7, 1 / 7), image="a")

    assert sums.result().top1 == 1.0
    assert sums.result().top5 == 1.0


def test_an_anchor_sees_an_object_from_half_on() -> None:
    """Background, an object at 0.6, an object below the threshold."""
    scores = np.log(np.array([[[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.3, 0.4, 0.3]]]))

    assert objects(scores, 0.5).tolist() == [0, 2, 0]


def test_detections_agree_by_anchor() -> None:
    """Two grids; seen by both alike, seen as another class, seen by one only."""
    left = [np.log(np.array([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1]])), np.log(np.array([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]))]
    right = [np.log(np.array([[0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])), np.log(np.array([[0.8, 0.1, 0.1], [0.8, 0.1, 0.1]]))]
    sums = DetectionSums()
    sums.add(left, right)
    found = sums.result()

    assert (found.seen_float32, found.seen_format, found.same) == (3, 2, 1)
    assert found.agreement == pytest.approx(1 / 3)


def test_nothing_seen_is_full_agreement() -> None:
    """By both."""
    sums = DetectionSums()
    sums.add([np.zeros((4, 3))], [np.zeros((4, 3))])

    assert sums.result().agreement == 1.0


def test_scores_that_are_not_finite_agree_with_nothing() -> None:
    """An overflow of the narrow format is no silent zero."""
    sums = AgreementSums()
    sums.add(np.array([0.9, 0.1]), np.array([np.nan, 0.1]), image="a", expected=0)
    found = sums.result()

    assert (found.top1, found.top5, found.score_distance, found.correct_format) == (0.0, 0.0, 1.0, 0)
    assert found.disagreements[0].format_class == -1


def detections(*rows: tuple[tuple[float, float, float, float], int]) -> Detections:
    return Detections(
        boxes=np.array([box for box, _ in rows], np.float32).reshape(-1, 4),
        classes=np.array([kind for _, kind in rows], np.int64),
        scores=np.linspace(1, 0.6, len(rows), dtype=np.float32),
    )


def test_objects_match_by_class_and_place() -> None:
    """Moved a little; moved too far; another class; one box for two objects."""
    left = detections(((0, 0, 0.2, 0.2), 1), ((0.5, 0.5, 0.7, 0.7), 1), ((0, 0.5, 0.2, 0.7), 2), ((0, 0, 0.2, 0.21), 1))
    right = detections(((0, 0, 0.2, 0.22), 1), ((0.6, 0.6, 0.8, 0.8), 1), ((0, 0.5, 0.2, 0.7), 3))
    sums = DetectionSums()
    sums.add_objects(left, right)
    sums.add_objects(None, detections())

    assert matches(left, right) == 1
    assert (sums.objects_float32, sums.objects_format) == (4, 3)
    assert sums.result().object_agreement == pytest.approx(2 / 7)
    assert matches(left, left) == 4


def test_objects_are_read_from_the_familys_outputs() -> None:
    """One anchor sees a class; of other outputs, or broken ones, there are none."""
    shapes = [(1, side, side, 2 + len(ratios)) for side, ratios in zip(GRIDS, RATIOS, strict=True)]
    arrays = [np.zeros((*shape, 3), np.float32) for shape in shapes] + [
        np.zeros((*shape, 4), np.float32) for shape in shapes
    ]
    for scores in arrays[:6]:
        scores[..., 0] = 9
    arrays[3][0, 2, 2, 0] = (0, 0, 9)
    outputs = dict(zip(OUTPUT_NAMES, arrays, strict=True))
    found = found_objects(outputs)

    assert found is not None
    assert found.classes.tolist() == [2]
    assert found_objects({"other:0": arrays[0]}) is None
    arrays[0][0, 0, 0, 0, 0] = np.inf
    assert found_objects(outputs) is None
    assert objects(arrays[0], 0.5).sum() == 0
