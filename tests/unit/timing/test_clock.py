from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelform_runtime.timing import VirtualClock


def clock() -> VirtualClock:
    return VirtualClock(latency_seconds=1.75, occupancy_seconds=1.5)


def test_an_idle_fpga_starts_at_once() -> None:
    """The result is there one latency after the arrival."""
    slot = clock().submit(10.0)

    assert (
        slot.arrival_seconds,
        slot.start_seconds,
        slot.finish_seconds,
        slot.queue_seconds,
    ) == (10.0, 10.0, 11.75, 0.0)


def test_neighbours_overlap_by_latency_less_occupancy() -> None:
    """The next request starts one occupancy after the last, before that one's result is there."""
    fpga = clock()
    slots = [fpga.submit(0.0) for _ in range(3)]

    assert [slot.start_seconds for slot in slots] == [0.0, 1.5, 3.0]
    assert [slot.finish_seconds for slot in slots] == [1.75, 3.25, 4.75]
    assert [slot.queue_seconds for slot in slots] == [0.0, 1.5, 3.0]


def test_a_pause_empties_the_queue() -> None:
    """After the FPGA fell idle, nothing waits."""
    fpga = clock()
    fpga.submit(0.0)

    assert fpga.queue_seconds(1.0) == 0.5
    assert fpga.queue_seconds(9.0) == 0.0
    assert fpga.submit(9.0).start_seconds == 9.0


@pytest.mark.parametrize(("latency", "occupancy"), [(1.0, 1.1), (1.0, 0.0), (-1.0, -1.0)])
def test_impossible_times_are_refused(latency: float, occupancy: float) -> None:
    """An occupancy beyond the latency, or none, is an error."""
    with pytest.raises(ValueError, match="0 < occupancy <= latency"):
        VirtualClock(latency_seconds=latency, occupancy_seconds=occupancy)


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=50))
def test_starts_keep_their_distance(arrivals: list[float]) -> None:
    """Whatever arrives when: no start before its arrival, and one occupancy between starts."""
    fpga = clock()
    slots = [fpga.submit(arrival) for arrival in sorted(arrivals)]

    assert all(slot.start_seconds >= slot.arrival_seconds for slot in slots)
    for earlier, later in pairwise(slots):
        assert later.start_seconds - earlier.start_seconds >= 1.5 - 1e-9
