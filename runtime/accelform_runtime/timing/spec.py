"""The FPGAs as data: every value with where it is from (sourced, chosen or fitted)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

SPECS = "specs"


@dataclass(frozen=True, kw_only=True)
class FpgaSpec:
    """One FPGA with its overlay.

    Attributes:
        tile_engines, lanes, native_dimension: T, L and N of "ISCA 2018, Fowers et al."; a native tile is N x N weights
        ddr_efficiency: share of the memory's peak rate that weights stream at
        weight_buffer_megabytes: weights that can be on the chip ahead of their layer
        fill_cycles: pipeline fill of every layer
        occupancy_share: share of its latency for which a request keeps the next one out
        recurrent_chain_cycles: cell kind -> shortest time of a step, whatever its size
        provenance: value -> "sourced: ...", "chosen: ..." or "fitted: ..."
    """

    name: str
    title: str
    tile_engines: int
    lanes: int
    native_dimension: int
    clock_mhz: float
    ddr_gigabytes_per_second: float
    ddr_efficiency: float
    weight_buffer_megabytes: float
    fill_cycles: int
    occupancy_share: float
    recurrent_chain_cycles: Mapping[str, int]
    provenance: Mapping[str, str]

    @property
    def peak_teraflops(self) -> float:
        """2 * T * L * N * clock."""
        return 2 * self.tile_engines * self.lanes * self.native_dimension * self.clock_mhz / 1e6

    @property
    def cycles_per_tile(self) -> float:
        """N / L: a tile engine takes a vector's elements L at a time."""
        return self.native_dimension / self.lanes

    @property
    def ddr_bytes_per_ms(self) -> float:
        return self.ddr_gigabytes_per_second * self.ddr_efficiency * 1e6

    def milliseconds(self, cycles: float) -> float:
        return cycles / (self.clock_mhz * 1e3)


@cache
def load_spec(name: str) -> FpgaSpec:
    """The FPGA of that name: `bw-a10` or `bw-s10`.

    Raises:
        ValueError: there is none.
    """
    folder = resources.files(__package__) / SPECS
    known = sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))
    if name not in known:
        raise ValueError(f"there is no FPGA {name!r}; known: {', '.join(known)}")
    data = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return FpgaSpec(
        name=data["name"],
        title=data["title"],
        provenance=MappingProxyType({key: row["source"] for key, row in data["values"].items()}),
        **{key: row["value"] for key, row in data["values"].items()},
    )
