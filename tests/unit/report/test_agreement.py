"""Classifiers and detectors beside each other, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from accelform.report.agreement import AgreementSums
from accelform.report.detection import DetectionSums, objects


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
