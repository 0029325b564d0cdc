"""Joins raw steps to a network's steps: batch norms and biases go into the convolution before them, ReLUs into what
they follow, where nothing else reads the value between.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from accelform.errors import InvalidWeights, UnsupportedModel
from accelform.topology.raw import Raw, Vector
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Convolution,
    MaxPool,
    Mean,
    Normalise,
    Step,
)
from accelform_runtime.numerics.quantiser import Floats

MAX_WEIGHTS = 2**29
FOLD_ROWS = 2**22
"""Weights that are folded in float64 at a time, so that a layer of 100 million takes no gigabyte."""


@dataclass(kw_only=True)
class Draft:
    """A step in the making.

    Attributes:
        raw: the raw step it began as
        last: the raw step whose maps it gives
    """

    raw: Raw
    name: str
    last: int
    sources: tuple[str, ...]
    scale: Vector | None = None
    bias: Vector | None = None
    relu: bool = False

    @property
    def open(self) -> bool:
        """Whether arithmetic per channel can still go in."""
        return not self.relu


@dataclass(kw_only=True)
class Fused:
    """A network's steps.

    Attributes:
        drafts: by step name, in execution order
        names: raw step -> the step whose maps are exactly its maps, or which it became a part of
        complete: raw steps whose maps are a step's
    """

    drafts: dict[str, Draft] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def gives(self, raw: int) -> bool:
        """Whether a step gives the maps of that raw step; inside a fused step nothing can be read."""
        return raw in self.names and (raw == 0 or self.drafts[self.names[raw]].last == raw)

    def steps(self) -> tuple[Step, ...]:
        return tuple(_step(draft) for draft in self.drafts.values())

    def parameters(self, *, only: Collection[str]) -> Parameters:
        """The arrays of the steps named in `only`.

        Raises:
            InvalidWeights: values that are NaN or infinite, or become so when batch norm is folded in
            UnsupportedModel: there are too many
        """
        drafts = {
            name: draft
            for name, draft in self.drafts.items()
            if name in only and draft.raw.kind in ("convolution", "affine", "relu", "normalise")
        }
        total = sum(draft.raw.kernel.constant.size for draft in drafts.values() if draft.raw.kernel is not None)
        if total > MAX_WEIGHTS:
            raise UnsupportedModel(
                f"the network has {total:,} weights; at most {MAX_WEIGHTS:,} are converted: none of the networks that "
                f"the FPGA was made for has a third of that"
            )
        return {name: _arrays(draft) for name, draft in drafts.items()}


def fuse(raws: Sequence[Raw], needed: Sequence[int]) -> Fused:
    """The steps that give the maps of the raw steps `needed`, and what those read."""
    readers = _readers(raws, needed)
    fused = Fused(names={0: IMAGE})
    counts: dict[str, int] = {}
    for index, raw in enumerate(raws):
        if index == 0 or not readers[index]:
            continue
        before = fused.drafts.get(fused.names[raw.sources[0]])
        alone = before is not None and before.last == raw.sources[0] and readers[raw.sources[0]] == 1
        if before is not None and alone and _joined(before, raw):
            before.last = index
            fused.names[index] = before.name
            continue
        name = _fresh(raw.label or raw.node, fused.drafts, counts)
        fused.names[index] = name
        fused.drafts[name] = Draft(
            raw=raw,
            name=name,
            last=index,
            sources=tuple(fused.names[source] for source in raw.sources),
            scale=raw.scale,
            bias=raw.bias,
            relu=raw.kind == "relu",
        )
    return fused


def _readers(raws: Sequence[Raw], needed: Sequence[int]) -> list[int]:
    """How many needed raw steps and outputs read each raw step."""
    counts = [0] * len(raws)
    for index in needed:
        counts[index] += 1
    for index in range(len(raws) - 1, 0, -1):
        if counts[index]:
            for source in raws[index].sources:
                counts[source] += 1
    return counts


def _joined(draft: Draft, raw: Raw) -> bool:
    """Takes `raw` into `draft` if what both do is one step."""
    kind = draft.raw.kind
    if raw.kind == "relu":
        if kind not in ("convolution", "affine", "add") or draft.relu:
            return False
        draft.relu = True
        return True
    if raw.kind != "affine" or draft.relu:
        return False
    if kind == "normalise" and raw.bias is None:
        draft.scale = _product(draft.scale, raw.scale)
        return True
    if kind not in ("convolution", "affine"):
        return False
    draft.bias = _sum(_product(draft.bias, raw.scale) if draft.bias is not None else None, raw.bias)
    draft.scale = _product(draft.scale, raw.scale)
    return True


def _product(left: Vector | None, right: Vector | None) -> Vector | None:
    if left is None or right is None:
        return right if left is None else left
    with np.errstate(all="ignore"):
        return np.asarray(left * right)


def _sum(left: Vector | None, right: Vector | None) -> Vector | None:
    if left is None or right is None:
        return right if left is None else left
    return np.asarray(left + right)


_ENDINGS = re.compile(
    r"(/(Conv|Conv2D|convolution|BiasAdd|Relu|MatMul|Gemm|MaxPool2?d?|FusedBatchNorm\w*|Add|concat"
    r"|batchnorm/(mul|add)(_1)?))?(:\d+)?$",
    re.IGNORECASE,
)


def _fresh(label: str, taken: Mapping[str, Draft], counts: dict[str, int]) -> str:
    """A step name from an ONNX node's: what its framework added at the end is left out."""
    name = re.sub(r"[^A-Za-z0-9_.\-/]+", "_", label).strip("/")
    name = _ENDINGS.sub("", name) or "layer"
    found = name
    while found in taken or found == IMAGE:
        counts[name] = counts.get(name, 1) + 1
        found = f"{name}_{counts[name]}"
    return found


def _step(draft: Draft) -> Step:
    raw, name = draft.raw, draft.name
    source = draft.sources[0]
    channels = raw.maps.channels
    if raw.kind == "convolution":
        assert raw.window is not None
        assert raw.kernel is not None
        return Convolution(
            name=name,
            source=source,
            in_channels=raw.kernel.in_channels,
            out_channels=channels,
            window=raw.window,
            weights=f"{name}/weights",
            biases=f"{name}/biases",
            relu=draft.relu,
        )
    if raw.kind in ("affine", "relu"):
        norm = BatchNorm(scope=f"{name}/BatchNorm", epsilon=0.0)
        return Affine(name=name, source=source, channels=channels, batch_norm=norm, relu=draft.relu)
    if raw.kind == "normalise":
        return Normalise(name=name, source=source, channels=channels, scale=f"{name}/gamma", epsilon=raw.epsilon)
    if raw.kind == "mean":
        return Mean(name=name, source=source)
    if raw.kind == "add":
        return Add(name=name, left=source, right=draft.sources[1], relu=draft.relu)
    if raw.kind == "concat":
        return Concat(name=name, inputs=draft.sources)
    assert raw.window is not None
    return (MaxPool if raw.kind == "max" else AveragePool)(name=name, source=source, window=raw.window)


def _arrays(draft: Draft) -> StepArrays:
    channels = draft.raw.maps.channels
    ones, zeros = np.ones(channels, np.float64), np.zeros(channels, np.float64)
    scale = ones if draft.scale is None else draft.scale
    bias = _rounded(zeros if draft.bias is None else draft.bias, draft, "bias")
    if draft.raw.kind == "convolution":
        assert draft.raw.kernel is not None
        weights = draft.raw.kernel.array()
        if draft.scale is not None:
            weights = _scaled(weights, scale, draft)
        return StepArrays(weights=weights, bias=bias)
    if draft.raw.kind == "normalise":
        return StepArrays(scale=_rounded(scale, draft, "scale"))
    return StepArrays(scale=_rounded(scale, draft, "scale"), bias=bias)


def _scaled(weights: Floats, scale: Vector, draft: Draft) -> Floats:
    """weights * scale in float64, rounded once."""
    rows = weights.reshape(-1, weights.shape[-1])
    result = np.empty_like(rows)
    at_once = max(1, FOLD_ROWS // rows.shape[1])
    for start in range(0, len(rows), at_once):
        piece = slice(start, start + at_once)
        with np.errstate(all="ignore"):
            result[piece] = rows[piece] * scale
    _check(result, draft, "weights")
    return result.reshape(weights.shape)


def _rounded(values: Vector, draft: Draft, what: str) -> Floats:
    with np.errstate(all="ignore"):
        result = values.astype(np.float32)
    _check(result, draft, what)
    return result


def _check(values: Floats, draft: Draft, what: str) -> None:
    if not np.isfinite(np.sum(values, dtype=np.float64)):
        raise InvalidWeights(
            f"the {what} of {draft.raw.node} become NaN or infinite when the batch norm or the constants after it are "
            f"folded in: look for a variance below zero, a division by zero or a step that diverged in training"
        )
