"""What a service answered, as a table or as JSON: classes of a classifier, or what other outputs there are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform.cli.objects import Thresholds, object_lines, object_rows, objects_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from accelform_runtime.client import Exactness, ScoreResult

Rows = list[tuple[int, str, float]]
"""Class, label, score, best first."""


def as_table(result: ScoreResult, *, labels: Sequence[str], top: int, thresholds: Thresholds) -> str:
    """The answer for people."""
    found = objects_in(result, thresholds)
    shown = _classes(result, labels, top) if found is None else object_lines(found, labels, top)
    lines = [*shown, "", f"model         {result.model_name}, version {result.model_version}"]
    if result.engine:
        bitstream = f"bitstream {result.bitstream}" if result.bitstream != "none" else "no bitstream, emulation only"
        lines.append(f"computed by   {result.engine}, {result.number_format}, {bitstream}")
    if result.exactness is not None:
        lines.append(f"exactness     {_exactness(result.exactness)}")
    server = f", {result.server_ms:.1f} ms of it in the service" if result.server_ms is not None else ""
    lines.append(f"round trip    {result.round_trip_ms:.1f} ms measured{server}")
    if result.modelled:
        lines.append(
            f"FPGA latency  {result.modelled.latency_ms:.2f} ms modelled, "
            f"occupied for {result.modelled.occupancy_ms:.2f} ms after {result.modelled.queue_ms:.2f} ms in its queue"
        )
    return "\n".join(lines)


def as_json(image: Path, result: ScoreResult, *, labels: Sequence[str], top: int, thresholds: Thresholds) -> str:
    """The answer for programs."""
    found = objects_in(result, thresholds)
    content: dict[str, Any] = {
        "image": str(image),
        "predictions": [
            {"class": index, "label": label, "probability": score} for index, label, score in _rows(result, labels, top)
        ],
        "objects": object_rows(found, labels, top) if found is not None else None,
        "outputs": {name: list(values.shape) for name, values in result.outputs.items()},
        "model": {"name": result.model_name, "version": result.model_version},
        "engine": result.engine,
        "number_format": result.number_format,
        "bitstream": result.bitstream,
        "exactness": dataclasses.asdict(result.exactness) if result.exactness else None,
        "request_id": result.request_id,
        "round_trip_ms": result.round_trip_ms,
        "server_ms": result.server_ms,
        "fpga": dataclasses.asdict(result.modelled) if result.modelled else None,
    }
    return json.dumps(content, indent=2)


def _classes(result: ScoreResult, labels: Sequence[str], top: int) -> list[str]:
    rows = _rows(result, labels, top)
    if not rows:
        width = max(len("output"), *(len(name) for name in result.outputs))
        table = [f"{name:<{width}}  {_range(values)}" for name, values in result.outputs.items()]
        return [f"{'output':<{width}}  shape, smallest and largest value", *table]
    width = max(len("class"), *(len(label) for _, label, _ in rows))
    if _probabilities(result.array):
        heading, numbers = "probability", [f"{score:>10.2%}" for _, _, score in rows]
    else:
        heading, numbers = "score", [f"{score:>10.6g}" for _, _, score in rows]
    named = zip(rows, numbers, strict=True)
    return [f"{'class':<{width}}  {heading}", *(f"{label:<{width}}  {number}" for (_, label, _), number in named)]


def _probabilities(scores: NDArray[Any]) -> bool:
    return bool(scores.min() >= 0) and abs(float(scores[0].sum()) - 1) < 1e-3


def _rows(result: ScoreResult, labels: Sequence[str], top: int) -> Rows:
    """The best classes, where the answer is one vector per image; else none."""
    if len(result.outputs) != 1 or result.array.ndim < 2:
        return []
    return [(index, labels[index] if index < len(labels) else str(index), score) for index, score in result.top(top)]


def _range(values: NDArray[Any]) -> str:
    shape = " x ".join(str(size) for size in values.shape)
    return f"{shape}, {values.min():.6g} to {values.max():.6g}" if values.size else shape


def _exactness(exactness: Exactness) -> str:
    if exactness.how == "construction":
        return "equal to the definition by construction: every sum is added in its order"
    if exactness.how == "proven":
        return f"equal to the definition: all {exactness.sums:,} sums proven independent of their order"
    return f"computed by the definition: {exactness.proven:,} of {exactness.sums:,} sums proven independent of order"
