"""Number formats as data: one JSON profile each, every knob with the source of its value or why it was chosen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

from accelform_runtime.errors import UnknownProfile

EXACT_INTEGERS_BITS = 24
"""float32 holds every integer up to 2^24, so a sum of integers below that is exact in any order."""

MAX_MANTISSA_BITS = 7
"""So that a signed mantissa fits a byte."""

SMALLEST_STEP_EXPONENT = -126
"""Steps are normal float32 numbers; below, a processor that flushes subnormals would give other results."""

PROFILES = "profiles"

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "block_layout": ("input-channels-per-tap",),
        "rounding": ("nearest-even", "nearest-away", "truncate"),
        "overflow": ("clamp", "carry"),
        "accumulate": ("float32-sequential",),
    }
)
"""Knob -> the values that the definition knows, for formats with blocks."""


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """How the FPGA represents and adds numbers.

    Attributes:
        name, title: the profile's
        block_size: values that share an exponent; None: nothing is quantised
        block_layout: which values of a convolution form a block
        mantissa_bits: magnitude bits m; integers from -(2^m - 1) to 2^m - 1
        exponent_bits: width of the shared exponent; its range is float's for that width (5 bits: -14 to 15)
        rounding: of a value to its integer: nearest-even and nearest-away differ in ties only, truncate drops digits
        overflow: of a largest value that rounds up to 2^m: clamp keeps the exponent and gives 2^m - 1, carry raises
            the block's exponent by one and rounds the block with the larger step
        accumulate: how partial sums of blocks are added
        pointwise: type of everything between convolutions
        provenance: knob -> "sourced: ..." or "chosen: ..."
    """

    name: str
    title: str
    block_size: int | None
    block_layout: str
    mantissa_bits: int | None
    exponent_bits: int | None
    rounding: str
    overflow: str
    accumulate: str
    pointwise: str
    provenance: Mapping[str, str]

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ValueError(f"number format {self.name}: " + "; ".join(problems))

    def _problems(self) -> list[str]:
        found = [f"{knob} has no provenance" for knob in KNOBS if knob not in self.provenance]
        if self.pointwise not in ("float16", "float32"):
            found.append(f"pointwise is {self.pointwise!r}; known: float16, float32")
        if self.block_size is None:
            return found
        found += [
            f"{knob} is {getattr(self, knob)!r}; known: {', '.join(known)}"
            for knob, known in CHOICES.items()
            if getattr(self, knob) not in known
        ]
        if self.mantissa_bits is None or not 1 <= self.mantissa_bits <= MAX_MANTISSA_BITS:
            found.append(f"mantissa_bits is {self.mantissa_bits!r}; from 1 to {MAX_MANTISSA_BITS}")
        elif self.block_size < 1 or self.block_size * self.largest_integer**2 > 1 << EXACT_INTEGERS_BITS:
            found.append(f"a block of {self.block_size} products of {self.mantissa_bits} bits can exceed 2^24")
        if self.exponent_bits is None or not 2 <= self.exponent_bits <= 8:
            found.append(f"exponent_bits is {self.exponent_bits!r}; from 2 to 8")
        return found

    @property
    def quantised(self) -> bool:
        return self.block_size is not None

    @property
    def largest_integer(self) -> int:
        """2^m - 1."""
        return (1 << (self.mantissa_bits or 0)) - 1

    @property
    def exponent_range(self) -> tuple[int, int]:
        """Smallest and largest shared exponent: the normal exponents of a float with as many exponent bits.

        With eight bits the smallest is higher, so that its step is still a normal float32 number.
        """
        bits = self.exponent_bits or 8
        smallest = max(2 - (1 << (bits - 1)), SMALLEST_STEP_EXPONENT - 1 + (self.mantissa_bits or 0))
        return smallest, (1 << (bits - 1)) - 1

    @property
    def bits_per_value(self) -> float:
        """Storage: sign, mantissa and a share of the exponent; 32 when nothing is quantised."""
        if self.block_size is None:
            return 32.0
        return 1 + (self.mantissa_bits or 0) + (self.exponent_bits or 0) / self.block_size

    def as_dict(self) -> dict[str, Any]:
        """Plain data: knob -> {value, source}, plus name and title."""
        knobs = {knob: {"value": getattr(self, knob), "source": self.provenance[knob]} for knob in KNOBS}
        return {"name": self.name, "title": self.title, "knobs": knobs}


KNOBS = tuple(f.name for f in fields(NumberFormat) if f.name not in ("name", "title", "provenance"))


def profile_names() -> tuple[str, ...]:
    """Names of the profiles that come with the runtime, sorted."""
    folder = resources.files(__package__) / PROFILES
    return tuple(sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json")))


@cache
def load_profile(name: str) -> NumberFormat:
    """The number format of that name.

    Raises:
        UnknownProfile: there is none.
    """
    if name not in profile_names():
        raise UnknownProfile(f"there is no number format {name!r}; known: {', '.join(profile_names())}")
    text = (resources.files(__package__) / PROFILES / f"{name}.json").read_text(encoding="utf-8")
    return format_from_dict({"name": name, **json.loads(text)})


def format_from_dict(plain: Mapping[str, Any]) -> NumberFormat:
    """The number format that `as_dict` (or JSON of it) describes."""
    knobs: Mapping[str, Mapping[str, Any]] = plain["knobs"]
    return NumberFormat(
        name=plain["name"],
        title=plain["title"],
        provenance=MappingProxyType({knob: row["source"] for knob, row in knobs.items()}),
        **{knob: row["value"] for knob, row in knobs.items()},
    )
