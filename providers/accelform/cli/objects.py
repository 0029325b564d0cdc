"""The objects that a detector's answer holds, as rows of a table or of JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from accelform_runtime.client import Detections, ScoreResult

OUTPUTS: Final = 12
"""Of SSD-VGG: class scores and boxes of six levels."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thresholds:
    """What counts as an object: probability above `select`, overlap with a better one below `nms`."""

    select: float = 0.5
    nms: float = 0.45


def objects_in(result: ScoreResult, thresholds: Thresholds) -> Detections | None:
    """The first image's objects; None where the answer is not that of a detector.

    Raises DetectionInvalid for thresholds out of range.
    """
    from accelform_runtime.client.detection import OUTPUT_NAMES, detect

    aliases = {f"out_{index}" for index in range(OUTPUTS)}
    if set(result.outputs) not in (aliases, set(OUTPUT_NAMES)):
        return None
    return detect(result.outputs, select_threshold=thresholds.select, nms_threshold=thresholds.nms)[0]


def object_lines(found: Detections, labels: Sequence[str], top: int) -> list[str]:
    """A table: label, probability, box."""
    rows = object_rows(found, labels, top)
    width = max(len("object"), *(len(row["label"]) for row in rows)) if rows else len("object")
    lines = [f"{'object':<{width}}  probability  top, left, bottom, right"]
    for row in rows:
        box = ", ".join(f"{side:.3f}" for side in row["box"].values())
        lines.append(f"{row['label']:<{width}}  {row['probability']:>11.2%}  {box}")
    hidden = len(found) - len(rows)
    note = (
        f"{hidden} more: see them with --top"
        if hidden
        else ""
        if rows
        else "no object is probable enough: see --threshold"
    )
    return [*lines, note] if note else lines


def object_rows(found: Detections, labels: Sequence[str], top: int) -> list[dict[str, Any]]:
    """The best objects as plain data; boxes are shares of the image's height and width."""
    rows = []
    for box, kind, score in list(zip(found.boxes, found.classes, found.scores, strict=True))[:top]:
        number = int(kind)
        label = labels[number - 1] if number <= len(labels) else str(number)  # labels leave the background out
        sides = dict(zip(("top", "left", "bottom", "right"), (float(side) for side in box), strict=True))
        rows.append({"class": number, "label": label, "probability": float(score), "box": sides})
    return rows
