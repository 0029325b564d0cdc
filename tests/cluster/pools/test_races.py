"""Stacks that claim machines of one cluster at the same time, each in a process of its own."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.pool_process import PoolProcess
from tests.support.pool_target import Target
from tests.support.simulated_machines import SimulatedMachines

from accelform.plans.cluster_names import LOCATION_LABEL, OWNER_ANNOTATION, POOL_LABEL

# Alone: quotas and free machines span the cluster.
pytestmark = pytest.mark.timeout(1800)

ROUNDS = 12
STACKS = 3


@pytest.fixture
def stacks() -> Iterator[list[PoolProcess]]:
    """Processes that are ready to claim at the same moment."""
    processes = [PoolProcess() for _ in range(STACKS)]
    for process in processes:
        process.ask("wake", {})
    for process in processes:
        process.answer()
    yield processes
    for process in processes:
        process.__exit__(None, None, None)


def at_once(stacks: list[PoolProcess], targets: list[Target]) -> list[dict[str, Any]]:
    """Creates every target at the same time; what a state would hold of those that succeeded is kept."""
    requests = [target.checked() for target in targets]
    for process, inputs in zip(stacks, requests, strict=False):
        process.ask("create", inputs)
    answers = []
    for process, target in zip(stacks, targets, strict=False):
        answer = process.answer()
        assert answer is not None, process.printed
        target.state = {} if "error" in answer else answer
        answers.append(answer)
    return answers


def owners(machines: SimulatedMachines) -> Counter[str]:
    """How many machines bear each owner's mark."""
    marks = [row["metadata"].get("annotations", {}).get(OWNER_ANNOTATION) for row in machines.nodes()]
    return Counter(owner for owner in marks if owner)


def test_stacks_never_share_a_machine(machines: SimulatedMachines, stacks: list[PoolProcess]) -> None:
    """Whoever succeeds has its machines alone and whoever fails has none, in many rounds of random sizes; and because
    there is room for each pool alone, somebody always succeeds."""
    dice = random.Random(6)
    machines.add(4)
    before = machines.dump()
    for round_ in range(ROUNDS):
        targets = [
            Target(machines, f"r{round_}s{index}-{machines.id[-6:]}", agent_count=dice.randint(1, 3))
            for index in range(STACKS)
        ]

        answers = at_once(stacks, targets)

        held = owners(machines)
        taken = [name for target in targets for name in target.state.get("nodes", ())]
        for target in targets:
            assert held[target.given["owner"]] == (target.given["agent_count"] if target.state else 0), answers
        assert len(taken) == len(set(taken)) == sum(held.values())
        assert taken, answers
        assert {answer["error"][0] for answer in answers if "error" in answer} <= {"NoNodeFree"}
        for target in filter(lambda target: target.state, targets):
            target.destroy()
        assert machines.dump() == before


def test_a_name_has_one_owner(machines: SimulatedMachines, stacks: list[PoolProcess]) -> None:
    """Of stacks that make a pool of the same name at once exactly one succeeds, and the others leave nothing."""
    machines.add(2 * STACKS)
    before = machines.dump()
    for round_ in range(ROUNDS // 4):
        name = f"n{round_}-{machines.id[-6:]}"
        targets = [Target(machines, name, agent_count=2, owner=f"accelform/s{index}/target") for index in range(STACKS)]

        answers = at_once(stacks, targets)

        (winner,) = [target for target in targets if target.state]
        assert [answer["error"][0] for answer in answers if "error" in answer] == ["NotOwner"] * (STACKS - 1)
        assert {row["metadata"].get("labels", {}).get(POOL_LABEL) for row in machines.nodes()} == {name, None}
        assert owners(machines) == {winner.given["owner"]: 2}
        winner.destroy()
        assert machines.dump() == before


def test_a_quota_is_not_exceeded_together(machines: SimulatedMachines, stacks: list[PoolProcess]) -> None:
    """Stacks that fit a region's quota one by one, but not together, do not get their machines together."""
    machines.add(2 * STACKS)
    region = "southeastasia"
    used = 6 * sum(row["metadata"].get("labels", {}).get(LOCATION_LABEL) == region for row in machines.every_node())
    targets = [
        Target(machines, f"q{index}-{machines.id[-6:]}", agent_count=2, location=region, quota_vcpus=used + 18)
        for index in range(STACKS)
    ]

    answers = at_once(stacks, targets)

    (winner,) = [target for target in targets if target.state]
    assert [answer["error"][0] for answer in answers if "error" in answer] == ["QuotaExceeded"] * (STACKS - 1)
    assert owners(machines) == {winner.given["owner"]: 2}
    winner.destroy()
