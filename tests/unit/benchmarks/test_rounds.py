"""What rounds of calls say: medians with their spread, ratios taken round by round, goals."""

from __future__ import annotations

import pytest
from benchmarks import goals
from benchmarks.gate import transport
from benchmarks.rounds import compared, interleaved_blocks, percentile, spread, summary
from benchmarks.saturation import efficiency


def test_percentiles_are_by_nearest_rank() -> None:
    """The generator's way too, so that both sides of a ratio are counted alike."""
    values = list(range(1000, 0, -1))

    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (500, 990, 7.0)


def test_sides_take_turns_in_turning_order(block) -> None:
    """Drift of the machine hits every side alike."""
    order: list[str] = []

    def side(name: str):
        return lambda: order.append(name) or block([1.0])

    found = interleaved_blocks({name: side(name) for name in "ABC"}, rounds=3)

    assert "".join(order) == "ABCCBAABC"
    assert {name: len(blocks) for name, blocks in found.items()} == {"A": 3, "B": 3, "C": 3}


def test_ratios_are_taken_round_by_round(block) -> None:
    """A machine that was slow for one round is slow for both sides of it."""
    ours, base = [block([22.0]), block([220.0]), block([33.0])], [block([20.0]), block([200.0]), block([30.0])]

    found = compared(ours, base)

    assert found["p50_ratio"] == {"median": 1.1, "minimum": 1.1, "maximum": 1.1}
    assert found["p50_added_ms"] == {"median": 3.0, "minimum": 2.0, "maximum": 20.0}


def test_summary_tells_processor_time_of_server_and_client_apart(block) -> None:
    """The clients run on the same machine; what they take is no cost of the server."""
    found = summary([block([2.0, 2.0, 4.0], cpu_ms=1.5, client_cpu_ms=0.2)])

    assert found["calls"] == 3
    assert found["p50_ms"]["median"] == 2.0
    assert found["cpu_ms_per_call"]["median"] == 1.5
    assert found["client_cpu_ms_per_call"]["median"] == 0.2


def test_bare_loop_is_credited_with_what_clients_leave(block) -> None:
    """Clients that take a tenth of two cores leave a loop nine tenths of its pace."""
    loop = block([10.0] * 10)
    served = block([10.0] * 9 + [10.0], client_cpu_ms=2.0)

    assert efficiency([served], [loop], cores=2) == [pytest.approx(1 / 0.9)]


def test_transport_is_what_the_model_alone_does_not_take(block) -> None:
    """Processor time, not latency: with two cores the one hides in the other."""
    assert transport([block([3.0], cpu_ms=2.5)], [block([2.0], cpu_ms=2.0)]) == [pytest.approx(0.2)]


def test_goals_say_whether_they_are_met() -> None:
    """A goal that is reached exactly is met."""
    assert goals.at_most("p50", 1.03, 1.03)["met"] is True
    assert goals.at_most("p50", 1.031, 1.03)["met"] is False
    assert goals.at_least("goodput", 0.949, 0.95)["met"] is False


def test_spread_keeps_the_extremes() -> None:
    """The median alone would hide a round that went wrong."""
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "minimum": 1.0, "maximum": 3.0}
