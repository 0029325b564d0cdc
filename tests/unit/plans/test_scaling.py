"""Replicas, autoscale and FPGAs."""

from __future__ import annotations

import pytest

from accelform.plans import regions, scaling


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"num_replicas": 2, "autoscale_enabled": True}, "exclude each other"),
        ({"num_replicas": 0}, "num_replicas must be above 0"),
        ({"autoscale_min_replicas": 1}, "need autoscale_enabled: true"),
        ({"autoscale_enabled": True, "autoscale_min_replicas": 5, "autoscale_max_replicas": 2}, "is above"),
        ({"autoscale_enabled": True, "target_kind": "edge"}, "does not autoscale"),
    ],
)
def test_contradictions(inputs: dict[str, object], words: str) -> None:
    """Settings that contradict each other are refused with the way out."""
    assert words in " ".join(problem.reason for problem in scaling.problems(inputs))


def test_legal_forms() -> None:
    """A fixed number, nothing at all, and autoscale alone are fine."""
    assert scaling.problems({"num_replicas": 1}) == []
    assert scaling.problems({}) == []
    assert scaling.problems({"autoscale_enabled": True, "autoscale_max_replicas": 3}) == []


def test_one_fpga_for_each_replica() -> None:
    """More replicas than FPGAs are refused, with both ways to make it fit."""
    problem = scaling.capacity_problem("digits", 3, 2, "edge-box")

    assert problem is not None
    assert "asks for 3 replicas" in problem
    assert "agent_count to 3" in problem
    assert scaling.capacity_problem("digits", 2, 2, "edge-box") is None


def test_six_vcpus_a_machine() -> None:
    """A PB6 machine takes six vCPUs from the quota and is found in four regions."""
    assert regions.vcpus("Standard_PB6s", 3) == 18
    assert regions.region_problem("westus2") is None
    assert "choose one of eastus" in (regions.region_problem("eastus2") or "")


def test_one_program_cannot_give_an_fpga_twice() -> None:
    """A second service on a taken FPGA is refused, naming the one that has it."""
    problem = scaling.claim_problem("second", 1, 1, "edge-box", claims=["first"])

    assert problem is not None
    assert "'first'" in problem
    assert "agent_count to 2" in problem
    assert scaling.claim_problem("second", 1, 2, "edge-box", claims=["first"]) is None


@pytest.mark.parametrize(
    ("inputs", "fpgas", "expected"),
    [
        ({}, 4, (1, 1)),
        ({"num_replicas": 3}, 2, (3, 3)),
        ({"autoscale_enabled": True}, 4, (1, 4)),
        ({"autoscale_enabled": True}, 40, (1, 10)),
        ({"autoscale_enabled": True, "autoscale_min_replicas": 2, "autoscale_max_replicas": 3}, 40, (2, 3)),
        ({"autoscale_enabled": True, "autoscale_min_replicas": 12}, 40, (12, 12)),
    ],
)
def test_the_range_of_replicas(inputs: dict[str, object], fpgas: int, expected: tuple[int, int]) -> None:
    """Azure ML's one to ten replicas, bounded by the target's FPGAs where no bound is given."""
    assert scaling.replica_range(inputs, fpgas) == expected
