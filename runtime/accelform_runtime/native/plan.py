"""A network as a sequence of ops over planned memory: which results are kept, quantised, fused, and where they lie.

A convolution's result is quantised at once for the convolutions that read it, and kept in the point-wise type only if
another step reads it. An addition whose second operand is a convolution is done with that convolution. Steps whose
results are joined write to their place in the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accelform_runtime.native.memory import Region, place
from accelform_runtime.native.records import ABSENT, Kind
from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    AveragePool,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Step,
    Window,
)
from accelform_runtime.numerics.format import NumberFormat

_KINDS = {MaxPool: Kind.MAX_POOL, AveragePool: Kind.AVERAGE_POOL, Mean: Kind.MEAN, Normalise: Kind.NORMALISE}


@dataclass
class View:
    """Values in the point-wise type (or float32): channels `first` on of the memory of `region`; the image has none."""

    maps: Maps
    is_float: bool
    region: Region | None
    stride: int
    first: int = 0

    @property
    def offset(self) -> int:
        """In bytes; ABSENT for the image."""
        return ABSENT if self.region is None else self.region.offset + self.first * (4 if self.is_float else 2)


@dataclass
class Blocks:
    """Quantised values; `ring` is how many positions of zeros lie around: top, left, bottom, right."""

    maps: Maps
    ring: tuple[int, int, int, int]
    is_signed: bool
    bytes: Region
    scales: Region


@dataclass
class Op:
    """One op; values are named, None where there is none. `output`: place among the plan's outputs."""

    kind: Kind
    step: str
    label: str
    window: Window = field(default_factory=lambda: Window(kernel=(1, 1)))
    relu: bool = False
    add_relu: bool = False
    blocks_in: str | None = None
    source: View | None = None
    second: View | None = None
    middle: View | None = None
    added: View | None = None
    out: View | None = None
    blocks_out: str | None = None
    output: int = ABSENT
    epsilon: float = 0.0


@dataclass
class Plan:
    """Ops in order with everything they refer to.

    Attributes:
        steps: names that ops report errors under
        outputs: value -> its maps, in the order in which `Op.output` counts them
        arena_bytes: of the memory that all regions lie in
    """

    image: Maps
    steps: Sequence[str]
    ops: Sequence[Op]
    blocks: dict[str, Blocks]
    outputs: dict[str, Maps]
    arena_bytes: int


def plan(network: Network, fmt: NumberFormat, *, keep: bool = False) -> Plan:
    """The ops of `network` in `fmt`; with `keep`, every step's result is an output, else those of its tensors are."""
    return _Planner(network, fmt, keep).plan()


class _Planner:
    def __init__(self, network: Network, fmt: NumberFormat, keep: bool) -> None:
        self._network, self._format = network, fmt
        self._maps = network.maps
        self._order = {step.name: number for number, step in enumerate(network.steps)}
        wanted = list(self._order) if keep else list(dict.fromkeys(output.value for output in network.outputs))
        self._outputs = {value: self._maps[value] for value in wanted}
        self._readers: dict[str, list[Step]] = {name: [] for name in self._maps}
        for step in network.steps:
            for source in step.sources:
                self._readers[source].append(step)
        self._fused = self._fused_additions()
        self._views: dict[str, View] = {IMAGE: self._image_view()}
        self._blocks: dict[str, Blocks] = {}
        self._regions: list[Region] = []
        self._ops: list[Op] = []

    def plan(self) -> Plan:
        self._lay_out_values()
        if blocks := self._blocks_of(IMAGE):
            self._emit(Op(kind=Kind.COPY, step=IMAGE, label=IMAGE, source=self._views[IMAGE], blocks_out=blocks))
        done = {added.name for added, _ in self._fused.values()}
        for step in self._network.steps:
            if step.name in done:
                continue
            self._step(step)
            self._hand_out(step.name)
            if step.name in self._fused:
                self._hand_out(self._fused[step.name][0].name)
        return Plan(
            image=self._network.image,
            steps=(IMAGE, *self._order),
            ops=self._ops,
            blocks=self._blocks,
            outputs=self._outputs,
            arena_bytes=place(self._regions),
        )

    def _fused_additions(self) -> dict[str, tuple[Add, str]]:
        """Convolution -> the addition done with it, and the value added."""
        found: dict[str, tuple[Add, str]] = {}
        for step in self._network.steps:
            if not isinstance(step, Add):
                continue
            early, late = sorted(step.sources, key=lambda name: self._order.get(name, -1))
            conv = self._network.by_name.get(late)
            if isinstance(conv, Convolution) and early != late and late not in found and not self._is_quantised(late):
                found[late] = (step, early)
        return found

    def _is_quantised(self, value: str) -> bool:
        return any(isinstance(reader, Convolution) for reader in self._readers[value])

    def _is_kept(self, value: str) -> bool:
        """Whether anything but convolutions reads the value."""
        fused = self._fused[value][0] if value in self._fused else None
        return value in self._outputs or any(
            not isinstance(reader, Convolution) and reader is not fused for reader in self._readers[value]
        )

    def _is_float(self, value: str) -> bool:
        """Whether a value may have more digits than float16: maxima and parts of the image itself, if not all are."""
        if value == IMAGE or self._format.pointwise == "float32":
            return True
        step = self._network.by_name[value]
        return isinstance(step, (MaxPool, Concat)) and any(self._is_float(source) for source in step.sources)

    def _image_view(self) -> View:
        return View(maps=self._network.image, is_float=True, region=None, stride=self._network.image.channels)

    def _lay_out_values(self) -> None:
        """Backwards, so that a whole has its place before its parts get theirs in it."""
        for step in reversed(self._network.steps):
            if step.name not in self._views and (self._is_kept(step.name) or isinstance(step, Concat)):
                maps, is_float = self._maps[step.name], self._is_float(step.name)
                region = self._region(maps.size * (4 if is_float else 2))
                self._views[step.name] = View(maps=maps, is_float=is_float, region=region, stride=maps.channels)
            if isinstance(step, Concat):
                self._lay_out_parts(step)

    def _lay_out_parts(self, concat: Concat) -> None:
        whole = self._views[concat.name]
        first = whole.first
        for source in concat.inputs:
            alone = source not in self._views and concat.inputs.count(source) == 1
            if alone and self._is_float(source) == whole.is_float:
                self._views[source] = View(
                    maps=self._maps[source],
                    is_float=whole.is_float,
                    region=whole.region,
                    stride=whole.stride,
                    first=first,
                )
            first += self._maps[source].channels

    def _region(self, size: int) -> Region:
        region = Region(size=size)
        self._regions.append(region)
        return region

    def _blocks_of(self, value: str) -> str | None:
        """The value's name if convolutions read it; makes room for it."""
        if not self._is_quantised(value):
            return None
        paddings = [reader.window.padding for reader in self._readers[value] if isinstance(reader, Convolution)]
        top, left, bottom, right = (max(sides) for sides in zip(*paddings, strict=True))
        maps = self._maps[value]
        block = self._format.block_size or 1
        full, rest = divmod(maps.channels, block)
        positions = (maps.height + top + bottom) * (maps.width + left + right)
        self._blocks[value] = Blocks(
            maps=maps,
            ring=(top, left, bottom, right),
            is_signed=value not in self._network.non_negative,
            bytes=self._region(positions * (full * _fours(block) + _fours(rest))),
            scales=self._region(positions * (full + (rest > 0)) * 4),
        )
        return value

    def _step(self, step: Step) -> None:
        if isinstance(step, Convolution):
            self._convolution(step)
        elif isinstance(step, Concat):
            self._concat(step)
        else:
            views = [self._views[source] for source in step.sources]
            op = Op(
                kind=_KINDS.get(type(step), Kind.ADD if isinstance(step, Add) else Kind.AFFINE),
                step=step.name,
                label=step.name,
                source=views[0],
                second=views[1] if len(views) > 1 else None,
                relu=getattr(step, "relu", False),
                epsilon=getattr(step, "epsilon", 0.0),
                out=self._views.get(step.name),
                blocks_out=self._blocks_of(step.name),
            )
            if isinstance(step, (MaxPool, AveragePool)):
                op.window = step.window
            self._emit(op)

    def _convolution(self, conv: Convolution) -> None:
        op = Op(
            kind=Kind.CONVOLUTION, step=conv.name, label=conv.name, window=conv.window, relu=conv.relu,
            blocks_in=conv.source,
        )  # fmt: skip
        if conv.name in self._fused:
            addition, other = self._fused[conv.name]
            op.middle = self._views.get(conv.name)
            op.added, op.add_relu = self._views[other], addition.relu
            op.out, op.blocks_out = self._views.get(addition.name), self._blocks_of(addition.name)
        else:
            op.out, op.blocks_out = self._views.get(conv.name), self._blocks_of(conv.name)
        self._emit(op)

    def _concat(self, concat: Concat) -> None:
        whole = self._views[concat.name]
        first = whole.first
        for source in concat.inputs:
            view, maps = self._views[source], self._maps[source]
            part = View(maps=maps, is_float=whole.is_float, region=whole.region, stride=whole.stride, first=first)
            if (view.region, view.first, view.stride) != (part.region, part.first, part.stride):
                self._emit(Op(kind=Kind.COPY, step=concat.name, label=f"{concat.name}: copy", source=view, out=part))
            first += maps.channels
        if blocks := self._blocks_of(concat.name):
            self._emit(Op(kind=Kind.COPY, step=concat.name, label=concat.name, source=whole, blocks_out=blocks))

    def _hand_out(self, value: str) -> None:
        if value in self._outputs:
            number = list(self._outputs).index(value)
            label = f"{value}: output"
            self._emit(Op(kind=Kind.COPY, step=value, label=label, source=self._views[value], output=number))

    def _emit(self, op: Op) -> None:
        number = len(self._ops)
        self._ops.append(op)
        for view in (op.source, op.second, op.middle, op.added, op.out):
            if view is not None and view.region is not None:
                view.region.use(number)
        for value in (op.blocks_in, op.blocks_out):
            if value is not None:
                self._blocks[value].bytes.use(number)
                self._blocks[value].scales.use(number)


def _fours(count: int) -> int:
    return -(-count // 4) * 4
