"""Do two classifiers say the same? Top-1 and top-5 of one beside the other, and how far their scores are apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

TOP = 5
KEPT = 20
NO_CLASS = -1
"""What a format says whose scores are not finite."""

SUM_TOLERANCE = 1e-3

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """An image that the format sees as another class, with each one's probability of the class it says."""

    image: str
    float32_class: int
    float32_probability: float
    format_class: int
    format_probability: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Over all images.

    Attributes:
        top1: share of images where both say the same class
        top5: share where float32's class is among the format's five most likely (all, of fewer than five classes)
        score_distance: mean over images of half the sum of |difference| of the probabilities (total variation, 0
            to 1); probabilities are the scores themselves, or softmax of scores that are none
        softmax: whether softmax was applied
        correct_float32, correct_format: images whose class is that of their folder; None without such folders
        labelled: images that have such a folder
        disagreements: the first ones of them
    """

    images: int
    top1: float
    top5: float
    score_distance: float
    softmax: bool
    labelled: int = 0
    correct_float32: int | None = None
    correct_format: int | None = None
    disagreements: tuple[Disagreement, ...] = ()


@dataclass(kw_only=True)
class AgreementSums:
    """Counts of the images added so far."""

    images: int = 0
    same: int = 0
    among: int = 0
    distance: float = 0.0
    softmax: bool = False
    labelled: int = 0
    correct_float32: int = 0
    correct_format: int = 0
    disagreements: list[Disagreement] = field(default_factory=list)

    def add(
        self,
        reference: npt.NDArray[np.generic],
        compared: npt.NDArray[np.generic],
        *,
        image: str,
        expected: int | None = None,
    ) -> None:
        """Adds one image's scores [classes]; `expected` is its right class where that is known.

        Scores of the format that are not finite agree with nothing and are as far away as can be.
        """
        scores, others = np.asarray(reference, np.float64).ravel(), np.asarray(compared, np.float64).ravel()
        usable = bool(np.isfinite(others).all())
        others = others if usable else np.zeros_like(scores)
        self.softmax |= not _probabilities(scores)
        left, right = (softmax(scores), softmax(others)) if self.softmax else (scores, others)
        # Equal scores keep the order of classes, so that no tie turns into a disagreement.
        ours, theirs = int(np.argmax(scores)), int(np.argmax(others)) if usable else NO_CLASS
        self.images += 1
        self.same += ours == theirs
        self.among += usable and ours in np.argsort(-others, kind="stable")[:TOP]
        self.distance += float(np.abs(left - right).sum()) / 2 if usable else 1.0
        if expected is not None:
            self.labelled += 1
            self.correct_float32 += ours == expected
            self.correct_format += theirs == expected
        if ours != theirs and len(self.disagreements) < KEPT:
            self.disagreements.append(
                Disagreement(
                    image=image,
                    float32_class=ours,
                    float32_probability=float(left[ours]),
                    format_class=theirs,
                    format_probability=float(right[theirs]) if usable else 0.0,
                )
            )

    def result(self) -> Agreement:
        """Raises ZeroDivisionError before an image was added."""
        return Agreement(
            images=self.images,
            top1=self.same / self.images,
            top5=self.among / self.images,
            score_distance=self.distance / self.images,
            softmax=self.softmax,
            labelled=self.labelled,
            correct_float32=self.correct_float32 if self.labelled else None,
            correct_format=self.correct_format if self.labelled else None,
            disagreements=tuple(self.disagreements),
        )


def softmax(scores: Scores) -> Scores:
    """exp(score) over the sum of all, without overflow."""
    powers = np.exp(scores - scores.max())
    result: Scores = powers / powers.sum()
    return result


def _probabilities(scores: Scores) -> bool:
    return bool(scores.min() >= 0.0) and abs(float(scores.sum()) - 1.0) <= SUM_TOLERANCE
