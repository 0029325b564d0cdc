from __future__ import annotations

import pytest

from accelform_runtime.timing.memory import stalls_ms


def test_prefetch_hides_weights_behind_compute() -> None:
    """Weights that arrive while an earlier layer computes cost nothing."""
    assert stalls_ms([5, 5, 5], [10, 20, 30], bytes_per_ms=10, buffer_bytes=100, warm=False) == [1.0, 0.0, 0.0]


def test_fast_layers_wait_for_the_memory() -> None:
    """Total time can't be less than streaming everything."""
    compute, weights = [0.1] * 4, [10.0] * 4

    waits = stalls_ms(compute, weights, bytes_per_ms=10, buffer_bytes=20, warm=False)

    assert pytest.approx(4.0 + 0.1) == sum(waits) + sum(compute)


def test_a_warm_buffer_saves_the_first_wait() -> None:
    """What the idle FPGA had loaded needs no waiting."""
    assert stalls_ms([2, 2], [10, 10], bytes_per_ms=10, buffer_bytes=20, warm=False) == [1.0, 0.0]
    assert stalls_ms([2, 2], [10, 10], bytes_per_ms=10, buffer_bytes=20, warm=True) == [0.0, 0.0]


def test_a_small_buffer_limits_prefetch() -> None:
    """While a layer computes for long, no more than the buffer gets loaded."""
    waits = stalls_ms([100, 1, 1], [10, 10, 10], bytes_per_ms=10, buffer_bytes=20, warm=False)

    assert waits == [1.0, 0.0, 0.0]
    waits = stalls_ms([100, 0.5, 1], [10, 10, 10], bytes_per_ms=10, buffer_bytes=10, warm=False)
    assert waits == [1.0, 1.0, 1.0]


def test_a_layer_beyond_the_buffer_streams() -> None:
    """It starts with a full buffer and ends when its last weight has arrived."""
    (wait,) = stalls_ms([1], [100], bytes_per_ms=10, buffer_bytes=20, warm=False)

    assert pytest.approx(10.0 - 1.0) == wait
