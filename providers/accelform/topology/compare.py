"""Lays one network beside another, step by step from the image, and collects where they differ. Names play no part.

The two graphs are walked in the first one's order. Each of its steps is paired with a step of the other that reads
the paired values: the one that agrees, or else the one that agrees most, so that what comes later is compared too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from accelform_runtime.network.network import Network
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    Affine,
    AveragePool,
    Concat,
    Convolution,
    MaxPool,
    Step,
)

MAX_LEAVES = 2**18
"""What all concats of a network are made of; of more the rest stay as they are written."""

MAX_READERS = 64
"""Readers of one value that are looked at; no family has more than three."""

Aspect = Literal["kind", "kernel", "stride", "dilation", "channels", "relu", "size", "sources", "image"]
Settings = Mapping[Aspect, object]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where a network differs from a family: `step` of the family, `other` of the network (None: nothing there)."""

    step: Step
    other: Step | None
    aspects: tuple[Aspect, ...]


@dataclass(kw_only=True)
class Wiring:
    """A network with its readers.

    Attributes:
        network: what is wired
    """

    network: Network

    @cached_property
    def leaves(self) -> Mapping[str, tuple[str, ...]]:
        """Value -> what it is a concat of, concats of concats flattened; itself if it is none."""
        found: dict[str, tuple[str, ...]] = {IMAGE: (IMAGE,)}
        left = MAX_LEAVES
        for step in self.network.steps:
            if isinstance(step, Concat) and (count := sum(len(found[source]) for source in step.inputs)) <= left:
                left -= count
                found[step.name] = tuple(leaf for source in step.inputs for leaf in found[source])
            else:
                found[step.name] = (step.name,)
        return found

    @cached_property
    def joined(self) -> Mapping[tuple[str, ...], str]:
        """Leaves -> the first value that is their concat."""
        found: dict[tuple[str, ...], str] = {}
        for name, leaves in self.leaves.items():
            found.setdefault(leaves, name)
        return found

    def one(self, value: str) -> str:
        """Of several concats of the same values the first."""
        return self.joined[self.leaves[value]]

    @cached_property
    def readers(self) -> Mapping[str, tuple[Step, ...]]:
        """Value -> steps that read it, concats left out."""
        found: dict[str, list[Step]] = {IMAGE: [], **{step.name: [] for step in self.network.steps}}
        for step in self.network.steps:
            if not isinstance(step, Concat):
                for source in dict.fromkeys(step.sources):
                    found[self.one(source)].append(step)
        return {name: tuple(steps[:MAX_READERS]) for name, steps in found.items()}


def settings(step: Step, network: Network) -> Settings:
    """What has to agree. Padding need not, as long as the sizes do; nor does a norm's smallest value."""
    maps = network.maps[step.name]
    found: dict[Aspect, object] = {"kind": type(step).__name__, "size": (maps.height, maps.width)}
    if isinstance(step, (Convolution, MaxPool, AveragePool)):
        found |= {"kernel": step.window.kernel, "stride": step.window.stride, "dilation": step.window.dilation}
    if isinstance(step, Convolution):
        found["channels"] = step.out_channels
    if isinstance(step, (Convolution, Add, Affine)):
        found["relu"] = step.relu
    return found


def differing(step: Step, other: Step, family: Network, network: Network) -> tuple[Aspect, ...]:
    """The settings in which two steps differ. Sizes only count where nothing else does and what is read agrees."""
    mine, theirs = settings(step, family), settings(other, network)
    if mine["kind"] != theirs["kind"]:
        return ("kind",)
    found = tuple(aspect for aspect in mine if aspect != "size" and mine[aspect] != theirs.get(aspect))
    if found or mine["size"] == theirs["size"]:
        return found
    read, reads = family.maps[step.sources[0]], network.maps[other.sources[0]]
    return ("size",) if (read.height, read.width) == (reads.height, reads.width) else ()


@dataclass(kw_only=True)
class Comparison:
    """The result.

    Attributes:
        family, network: what was compared
        mapping: step of the family -> step of the network
        differences: in the family's order; empty if the family is a prefix of the network
        agreed: steps of the family that agree
    """

    family: Network
    network: Network
    mapping: dict[str, str] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    agreed: int = 0

    @property
    def share(self) -> float:
        return self.agreed / len(self.family.steps)


def compare(family: Network, network: Network) -> Comparison:
    """Lays `network` beside `family`."""
    return _Walk(Wiring(network=family), Wiring(network=network)).run()


class _Walk:
    def __init__(self, family: Wiring, network: Wiring) -> None:
        self._family, self._network = family, network
        self._values: dict[str, str] = {IMAGE: IMAGE}
        self._taken: set[str] = set()
        self._result = Comparison(family=family.network, network=network.network)

    def run(self) -> Comparison:
        if self._family.network.image != self._network.network.image:
            first = self._family.network.steps[0]
            self._result.differences.append(Difference(step=first, other=None, aspects=("image",)))
        for step in self._family.network.steps:
            if isinstance(step, Concat):
                self._concat(step)
            else:
                self._step(step)
        return self._result

    def _concat(self, step: Concat) -> None:
        leaves = tuple(self._values.get(leaf, "") for leaf in self._family.leaves[step.name])
        found = self._network.joined.get(leaves)
        if found is not None:
            self._pair(step, found, ())
        else:
            self._result.differences.append(Difference(step=step, other=None, aspects=("sources",)))

    def _step(self, step: Step) -> None:
        sources = [self._values.get(source) for source in step.sources]
        known = [source for source in sources if source is not None]
        if not known:
            # Something before it is missing already, and was told.
            self._result.differences.append(Difference(step=step, other=None, aspects=("sources",)))
            return
        candidates = list(self._candidates(known))
        agreeing = [other for other in candidates if not self._differing(step, other) and self._reads(other, sources)]
        if agreeing:
            best = max(agreeing, key=lambda other: self._likeness_after(step, other))
            self._pair(step, best.name, ())
            return
        self._pair_nearest(step, candidates, sources)

    def _pair_nearest(self, step: Step, candidates: list[Step], sources: list[str | None]) -> None:
        """The candidate of the same kind that agrees most, unless it is what another step of the family looks for."""
        siblings = [
            other
            for source in step.sources
            for other in self._family.readers[self._family.one(source)]
            if other is not step and other.name not in self._values
        ]
        free = [
            other
            for other in candidates
            if type(other) is type(step) and not any(not self._differing(sibling, other) for sibling in siblings)
        ]
        if free:
            best = min(free, key=lambda other: (len(self._differing(step, other)), not self._reads(other, sources)))
            aspects = self._differing(step, best)
            self._pair(step, best.name, aspects or ("sources",))
            return
        wrong = next((other for other in candidates if type(other) is not type(step)), None)
        aspects = ("kind",) if wrong is not None else ("sources",)
        self._result.differences.append(Difference(step=step, other=wrong, aspects=aspects))
        if isinstance(step, (MaxPool, Affine)) and (source := self._values.get(step.sources[0])) is not None:
            # Without it the maps keep their channels, so the rest can still be laid beside.
            self._values[step.name] = source

    def _pair(self, step: Step, other: str, aspects: tuple[Aspect, ...]) -> None:
        self._values[step.name] = other
        self._taken.add(other)
        if aspects:
            difference = Difference(step=step, other=self._network.network.by_name[other], aspects=aspects)
            self._result.differences.append(difference)
        else:
            self._result.mapping[step.name] = other
            self._result.agreed += 1

    def _candidates(self, sources: list[str]) -> Iterator[Step]:
        seen = set(self._taken)
        for source in sources:
            for other in self._network.readers[source]:
                if other.name not in seen:
                    seen.add(other.name)
                    yield other

    def _reads(self, other: Step, sources: list[str | None]) -> bool:
        """Whether `other` reads exactly these values, in any order."""
        mine = [self._network.one(source) for source in other.sources]
        return None not in sources and sorted(mine) == sorted(source for source in sources if source is not None)

    def _differing(self, step: Step, other: Step) -> tuple[Aspect, ...]:
        return differing(step, other, self._family.network, self._network.network)

    def _likeness_after(self, step: Step, other: Step) -> int:
        """How many readers of `step` have a counterpart among the readers of `other`: tells equal branches apart."""
        after = list(self._network.readers[other.name])
        count = 0
        for reader in self._family.readers[step.name]:
            found = next((mate for mate in after if not self._differing(reader, mate)), None)
            if found is not None:
                after.remove(found)
                count += 1
        return count
