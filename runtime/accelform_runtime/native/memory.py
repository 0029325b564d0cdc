"""Which parts of one memory hold which values: those that are never needed at the same time may share a place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(eq=False)
class Region:
    """`size` bytes that are needed from op `begin` to op `end`, both included; `offset` is set by `place`."""

    size: int
    begin: int = -1
    end: int = -1
    offset: int = 0

    def use(self, op: int) -> None:
        """Op `op` reads or writes the region."""
        self.begin = op if self.begin < 0 else min(self.begin, op)
        self.end = max(self.end, op)

    def meets(self, other: Region) -> bool:
        """Whether both are needed at some op."""
        return self.begin <= other.end and other.begin <= self.end


def place(regions: Sequence[Region]) -> int:
    """Gives every region its offset, a multiple of 64, largest first at the lowest place that is free as long as it
    is needed; returns the bytes that all of them take together."""
    placed: list[Region] = []
    total = 0
    for region in sorted(regions, key=lambda region: -region.size):
        offset = 0
        for other in sorted((other for other in placed if region.meets(other)), key=lambda other: other.offset):
            if other.offset - offset >= region.size:
                break
            offset = max(offset, _aligned(other.offset + other.size))
        region.offset = offset
        placed.append(region)
        total = max(total, offset + region.size)
    return _aligned(total)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
