"""Do two detectors see the same? Anchor by anchor as the FPGA gives it, and object by object as people get it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from accelform_runtime.client.detection import Detections

BACKGROUND = 0
THRESHOLD = 0.5
"""Probability from which an anchor sees an object."""

SAME_PLACE = 0.5
"""Intersection over union from which two boxes are of one object."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class DetectionAgreement:
    """Over all images. An anchor sees an object where that class has a probability of at least `threshold`.

    Attributes:
        seen_float32, seen_format: anchors that see an object
        same: anchors where both see an object of the same class
        agreement: `same` over anchors where either sees one; 1 where none does
        objects_float32, objects_format: after decoding and suppression, with the SDK's defaults; 0 for detectors
            other than the family's
        matched: objects that the other has as well: of the same class, overlapping by half
        object_agreement: 2 * matched over both numbers of objects (F1); 1 where there are none
    """

    images: int
    threshold: float
    seen_float32: int
    seen_format: int
    same: int
    agreement: float
    objects_float32: int
    objects_format: int
    matched: int
    object_agreement: float


@dataclass(kw_only=True)
class DetectionSums:
    """Counts of the images added so far."""

    threshold: float = THRESHOLD
    images: int = 0
    seen_float32: int = 0
    seen_format: int = 0
    seen_by_either: int = 0
    same: int = 0
    objects_float32: int = 0
    objects_format: int = 0
    matched: int = 0

    def add(self, reference: Sequence[Array], compared: Sequence[Array]) -> None:
        """Adds one image's class scores, one array [..., classes with the background first] per grid."""
        self.images += 1
        for left, right in zip(reference, compared, strict=True):
            ours, theirs = objects(left, self.threshold), objects(right, self.threshold)
            self.seen_float32 += int((ours != BACKGROUND).sum())
            self.seen_format += int((theirs != BACKGROUND).sum())
            self.seen_by_either += int(((ours != BACKGROUND) | (theirs != BACKGROUND)).sum())
            self.same += int(((ours == theirs) & (ours != BACKGROUND)).sum())

    def add_objects(self, reference: Detections | None, compared: Detections | None) -> None:
        """Adds one image's objects; None counts as no object."""
        self.objects_float32 += len(reference) if reference else 0
        self.objects_format += len(compared) if compared else 0
        if reference and compared:
            self.matched += matches(reference, compared)

    def result(self) -> DetectionAgreement:
        found = self.objects_float32 + self.objects_format
        return DetectionAgreement(
            images=self.images,
            threshold=self.threshold,
            seen_float32=self.seen_float32,
            seen_format=self.seen_format,
            same=self.same,
            agreement=self.same / self.seen_by_either if self.seen_by_either else 1.0,
            objects_float32=self.objects_float32,
            objects_format=self.objects_format,
            matched=self.matched,
            object_agreement=2 * self.matched / found if found else 1.0,
        )


def objects(scores: Array, threshold: float) -> np.ndarray[Any, np.dtype[np.intp]]:
    """The class that each anchor sees, `BACKGROUND` where none reaches `threshold` or scores are not finite.

    Scores are softmaxed first.
    """
    flat = np.asarray(scores, np.float64).reshape(-1, scores.shape[-1])
    usable = np.asarray(np.isfinite(flat).all(axis=1))
    flat = np.where(usable[:, None], flat, 0.0)
    powers = np.exp(flat - flat.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    best = probabilities.argmax(axis=1)
    return np.where(usable & (probabilities.max(axis=1) >= threshold), best, BACKGROUND)


def found_objects(outputs: Mapping[str, Array]) -> Detections | None:
    """The objects in the family's twelve outputs of one image; None of other outputs, or if a value is not finite."""
    from accelform_runtime.client.detection import OUTPUT_NAMES, detect

    if set(outputs) != set(OUTPUT_NAMES) or not all(np.isfinite(array).all() for array in outputs.values()):
        return None
    return detect(outputs, select_threshold=THRESHOLD)[0]


def matches(left: Detections, right: Detections) -> int:
    """How many objects of one are in the other: from the most probable on, each with the one that overlaps most."""
    from accelform_runtime.client.detection import overlap

    free = np.ones(len(right), bool)
    found = 0
    for box, kind in zip(left.boxes.astype(np.float64), left.classes, strict=True):
        shares = np.where(free & (right.classes == kind), overlap(box, right.boxes.astype(np.float64)), 0.0)
        if len(shares) and shares.max() >= SAME_PLACE:
            free[shares.argmax()] = False
            found += 1
    return found
