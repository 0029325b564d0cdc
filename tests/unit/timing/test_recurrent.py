from __future__ import annotations

import pytest

from accelform_runtime.timing import load_spec
from accelform_runtime.timing.recurrent import recurrent_latency_ms, step_cycles

DEEPBENCH = [
    ("gru", 2816, 750, 1.987),
    ("gru", 2560, 375, 0.993),
    ("gru", 2048, 375, 0.954),
    ("gru", 1536, 375, 0.951),
    ("gru", 1024, 1500, 3.792),
    ("lstm", 2048, 25, 0.074),
    ("lstm", 1536, 50, 0.145),
    ("lstm", 1024, 25, 0.074),
    ("lstm", 512, 25, 0.077),
    ("lstm", 256, 150, 0.425),
]
"""Cell, size, steps, published milliseconds: BW_S10 at batch 1 (ISCA 2018, Fowers et al.)."""


@pytest.mark.parametrize(("cell", "hidden", "steps", "published_ms"), DEEPBENCH)
def test_published_rows_within_six_percent(cell: str, hidden: int, steps: int, published_ms: float) -> None:
    """The tile rule, made for convolutions, foretells the recurrent rows."""
    assert pytest.approx(published_ms, rel=0.06) == recurrent_latency_ms(cell, hidden, steps, load_spec("bw-s10"))


def test_the_largest_row_needs_no_fitted_value() -> None:
    """GRU 2816: six matrices of 64 tiles on 6 engines are 6 * 11 * 10 cycles, more than the fitted chain."""
    assert step_cycles("gru", 2816, load_spec("bw-s10")) == 660
