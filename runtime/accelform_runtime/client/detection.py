"""From SSD-VGG's twelve outputs to objects: anchors, boxes, thresholds, non-maximum suppression.

Source: Liu et al. 2016; the numbers are those of Azure ML's sample. All in float64, the results float32.

- Level l of side g has g * g * a anchors, row by row. Their centre is (index + 0.5) * STEPS[l] / 300; their sizes, of
  the image, are s / 300 and sqrt(s * next) / 300 square, then s / 300 * sqrt(r) wide and s / 300 / sqrt(r) high for
  each ratio r, with (s, next) = SIZES[l].
- A box (dx, dy, dw, dh) moves its anchor: centre + (dx, dy) * 0.1 * size; size * exp((dw, dh) * 0.2).
- Probabilities are the softmax over background and classes. A pair of anchor and class counts where its probability
  exceeds `select_threshold`; its box is cut to the image, and is dropped where nothing is left of it.
- The `top_k` most probable pairs remain; of equal ones the first, by level, row, column, anchor and class.
- From the most probable on, each removes the later ones of its class whose intersection over union with it reaches
  `nms_threshold`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accelform_runtime.errors import DetectionInvalid

IMAGE_SIZE = 300.0
BLOCKS = ("block4", "block7", "block8", "block9", "block10", "block11")
GRIDS = (37, 19, 10, 5, 3, 1)
STEPS = (8.0, 16.0, 32.0, 64.0, 100.0, 300.0)
SIZES = ((21.0, 45.0), (45.0, 99.0), (99.0, 153.0), (153.0, 207.0), (207.0, 261.0), (261.0, 315.0))
FEW, MANY = (2.0, 1 / 2), (2.0, 1 / 2, 3.0, 1 / 3)
RATIOS = (FEW, MANY, MANY, MANY, FEW, FEW)
OFFSET = 0.5
VARIANCES = np.array([0.1, 0.1, 0.2, 0.2])
OUTPUT_NAMES = tuple(f"ssd_300_vgg/{block}_box/{part}:0" for part in ("Reshape_1", "Reshape") for block in BLOCKS)
"""Class scores of all levels, then boxes of all levels."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Objects of one image, the most probable first.

    Attributes:
        boxes: float32 [n, 4]: ymin, xmin, ymax, xmax from 0 to 1 of the image's height and width
        classes: int64 [n], from 1; 0 is the background, which is no object
        scores: float32 [n], probabilities
    """

    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)


def detect(
    outputs: Mapping[str, ArrayLike] | Sequence[ArrayLike],
    *,
    select_threshold: float = 0.5,
    nms_threshold: float = 0.45,
    top_k: int = 400,
    classes: Collection[int] | None = None,
) -> tuple[Detections, ...]:
    """The objects in each image of an answer.

    Args:
        outputs: the twelve by their names or as `out_0` to `out_11`, or in that order; [n, g, g, a, values], or
            without n where it was one image
        select_threshold: from 0 to below 1
        nms_threshold: above 0 up to 1
        top_k: of all classes together, before suppression
        classes: the only ones to look for; None: all

    Raises:
        DetectionInvalid: outputs are missing, misshapen or not finite, or a setting is out of range; lists everything.
    """
    arrays = _in_order(outputs)
    problems = _setting_problems(select_threshold, nms_threshold, top_k)
    problems += _shape_problems(arrays)
    if not problems and classes is not None:
        known = arrays[0].shape[-1] - 1
        problems = [f"class {kind} is not one of 1 to {known}" for kind in classes if not 1 <= kind <= known]
    if problems:
        raise DetectionInvalid("no objects can be read from the outputs: " + "; ".join(problems))
    levels = len(GRIDS)
    images = arrays[0].shape[0]
    scores, offsets = (
        np.concatenate([array.reshape(images, -1, array.shape[-1]) for array in part], axis=1)
        for part in (arrays[:levels], arrays[levels:])
    )
    wanted = np.zeros(scores.shape[-1], bool)
    wanted[list(classes) if classes is not None else slice(1, None)] = True
    return tuple(
        _detect_one(_softmax(scores[image]), _decode(offsets[image]), wanted, select_threshold, nms_threshold, top_k)
        for image in range(images)
    )


@cache
def anchors() -> Doubles:
    """[8432, 4]: centre x, centre y, width, height as shares of the image, in the order of the outputs."""
    found = []
    for grid, step, (size, following), ratios in zip(GRIDS, STEPS, SIZES, RATIOS, strict=True):
        middle = np.sqrt(size * following)
        widths = [size, middle, *(size * np.sqrt(ratio) for ratio in ratios)]
        heights = [size, middle, *(size / np.sqrt(ratio) for ratio in ratios)]
        centres = (np.arange(grid) + OFFSET) * step / IMAGE_SIZE
        level = np.empty((grid, grid, len(widths), 4))
        level[..., 0] = centres[None, :, None]
        level[..., 1] = centres[:, None, None]
        level[..., 2] = np.array(widths) / IMAGE_SIZE
        level[..., 3] = np.array(heights) / IMAGE_SIZE
        found.append(level.reshape(-1, 4))
    result = np.concatenate(found)
    result.setflags(write=False)
    return result


def _detect_one(
    probabilities: Doubles, boxes: Doubles, wanted: NDArray[np.bool_], select: float, nms: float, top_k: int
) -> Detections:
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    there = (heights > 0) & (widths > 0)
    places, kinds = np.nonzero((probabilities > select) & wanted & there[:, None])
    scores = probabilities[places, kinds]
    best = np.argsort(-scores, kind="stable")[:top_k]
    places, kinds, scores = places[best], kinds[best], scores[best]
    kept = suppress(boxes[places], kinds, nms_threshold=nms)
    return Detections(
        boxes=boxes[places[kept]].astype(np.float32),
        classes=kinds[kept].astype(np.int64),
        scores=scores[kept].astype(np.float32),
    )


def suppress(boxes: Doubles, classes: NDArray[Any], *, nms_threshold: float) -> NDArray[np.intp]:
    """Indexes of the boxes [n, 4] that stay; they come best first."""
    alive = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if alive[index]:
            later = slice(index + 1, None)
            same = (classes[later] == classes[index]) & (overlap(boxes[index], boxes[later]) >= nms_threshold)
            alive[later] &= ~same
    return np.flatnonzero(alive)


def overlap(box: Doubles, others: Doubles) -> Doubles:
    """Intersection over union of a box with each of `others` [n, 4]; 0 where both are empty."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(others[:, 2:] - others[:, :2], axis=1) - shared
    share: Doubles = np.divide(shared, union, out=np.zeros(len(others)), where=union > 0)
    return share


def _decode(offsets: Doubles) -> Doubles:
    """Boxes [n, 4] as ymin, xmin, ymax, xmax, cut to the image."""
    anchor = anchors()
    centre = anchor[:, :2] + offsets[:, :2] * VARIANCES[:2] * anchor[:, 2:]
    with np.errstate(over="ignore"):
        half = anchor[:, 2:] * np.exp(offsets[:, 2:] * VARIANCES[2:]) / 2
    low, high = centre - half, centre + half
    boxes: Doubles = np.clip(np.stack([low[:, 1], low[:, 0], high[:, 1], high[:, 0]], axis=1), 0.0, 1.0)
    return boxes


def _softmax(scores: Doubles) -> Doubles:
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Doubles = shares / shares.sum(axis=-1, keepdims=True)
    return result


def _in_order(outputs: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> list[Doubles]:
    """The twelve arrays with a batch axis; what is missing is an empty array of too few axes."""
    if not isinstance(outputs, Mapping):
        found = list(outputs)
    else:
        aliases = tuple(f"out_{index}" for index in range(len(OUTPUT_NAMES)))
        names = aliases if aliases[0] in outputs else OUTPUT_NAMES
        if missing := [name for name in names if name not in outputs]:
            raise DetectionInvalid(f"no objects can be read from the outputs: {', '.join(missing)} missing; ask for it")
        found = [outputs[name] for name in names]
    arrays = [np.asarray(array, np.float64) for array in found]
    return [array[None] if array.ndim == 4 else array for array in arrays]


def _setting_problems(select_threshold: float, nms_threshold: float, top_k: int) -> list[str]:
    problems = []
    if not 0 <= select_threshold < 1:
        problems.append(f"select_threshold is {select_threshold}; it must be from 0 to below 1")
    if not 0 < nms_threshold <= 1:
        problems.append(f"nms_threshold is {nms_threshold}; it must be above 0, up to 1")
    if top_k < 1:
        problems.append(f"top_k is {top_k}; it must be at least 1")
    return problems


def _shape_problems(arrays: Sequence[Doubles]) -> list[str]:
    if len(arrays) != len(OUTPUT_NAMES):
        return [f"there are {len(arrays)} instead of {len(OUTPUT_NAMES)}"]
    images = arrays[0].shape[0] if arrays[0].ndim else 0
    values = max(arrays[0].shape[-1], 2) if arrays[0].ndim else 2
    problems = []
    for index, (name, array) in enumerate(zip(OUTPUT_NAMES, arrays, strict=True)):
        level = index % len(GRIDS)
        boxes = index >= len(GRIDS)
        expected = (images, GRIDS[level], GRIDS[level], len(RATIOS[level]) + 2, len(VARIANCES) if boxes else values)
        if array.shape != expected:
            problems.append(f"{name} has shape {list(array.shape)} instead of {list(expected)}")
        elif not np.isfinite(array).all():
            problems.append(f"{name} holds NaN or infinite values")
    return problems
