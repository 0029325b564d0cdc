"""Do two detectors see the same? Anchor by anchor, before boxes are decoded and suppressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

BACKGROUND = 0
THRESHOLD = 0.5
"""Probability from which an anchor sees an object."""


@dataclass(frozen=True, kw_only=True)
class DetectionAgreement:
    """Over all images. An anchor sees an object where that class has a probability of at least `threshold`.

    Attributes:
        seen_float32, seen_format: anchors that see an object
        same: anchors where both see an object of the same class
        agreement: `same` over anchors where either sees one; 1 where none does
    """

    images: int
    threshold: float
    seen_float32: int
    seen_format: int
    same: int
    agreement: float


@dataclass(kw_only=True)
class DetectionSums:
    """Counts of the images added so far."""

    threshold: float = THRESHOLD
    images: int = 0
    seen_float32: int = 0
    seen_format: int = 0
    seen_by_either: int = 0
    same: int = 0

    def add(self, reference: Sequence[np.ndarray[Any, Any]], compared: Sequence[np.ndarray[Any, Any]]) -> None:
        """Adds one image's class scores, one array [..., classes with the background first] per grid."""
        self.images += 1
        for left, right in zip(reference, compared, strict=True):
            ours, theirs = objects(left, self.threshold), objects(right, self.threshold)
            self.seen_float32 += int((ours != BACKGROUND).sum())
            self.seen_format += int((theirs != BACKGROUND).sum())
            self.seen_by_either += int(((ours != BACKGROUND) | (theirs != BACKGROUND)).sum())
            self.same += int(((ours == theirs) & (ours != BACKGROUND)).sum())

    def result(self) -> DetectionAgreement:
        return DetectionAgreement(
            images=self.images,
            threshold=self.threshold,
            seen_float32=self.seen_float32,
            seen_format=self.seen_format,
            same=self.same,
            agreement=self.same / self.seen_by_either if self.seen_by_either else 1.0,
        )


def objects(scores: np.ndarray[Any, Any], threshold: float) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The class that each anchor sees, `BACKGROUND` where none reaches `threshold`; scores are softmaxed first."""
    flat = np.asarray(scores, np.float64).reshape(-1, scores.shape[-1])
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    best = probabilities.argmax(axis=1)
    return np.where(probabilities.max(axis=1) >= threshold, best, BACKGROUND)
