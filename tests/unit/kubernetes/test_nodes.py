"""Nodes and pods, parsed from what an API server sends."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.machines import machine, node, pod

from accelform.plans.cluster_names import FPGA_RESOURCE
from accelform.targets.kubernetes.nodes import Machine, amount, machines_of, uses_of


@pytest.mark.parametrize(
    ("quantity", "number"),
    [("6", 6.0), ("5800m", 5.8), ("1k", 1000.0), ("0", 0.0), ("1.5", 1.5), ("", 0.0), ("six", 0.0)],
)
def test_quantities(quantity: str, number: float) -> None:
    """Processors come as whole numbers or in thousandths; what is no quantity counts as nothing."""
    assert amount(quantity) == pytest.approx(number)


def test_a_bare_node() -> None:
    """A node that nothing has reported on yet is not Ready and has nothing."""
    found = Machine.of({"metadata": {"name": "new", "resourceVersion": "7"}}, FPGA_RESOURCE)

    assert (found.is_ready, found.vcpus, found.fpgas, found.usable_fpgas) == (False, 0.0, None, 0)
    assert found.trouble == "its kubelet has not reported yet"


@pytest.mark.parametrize(
    ("shape", "usable", "trouble"),
    [
        ({}, 1, ""),
        ({"fpgas": None}, 0, "offers no FPGA: no device plugin has told the kubelet of one"),
        ({"healthy": 0}, 0, "has 1 FPGA, none of them healthy"),
        ({"fpgas": 2, "healthy": 1}, 1, ""),
        ({"ready": False}, 0, "is not Ready: kubelet stopped posting"),
    ],
)
def test_what_is_wrong_with_an_fpga(shape: dict[str, Any], usable: int, trouble: str) -> None:
    """Why no FPGA of a node can be used is told in words; a node that is not Ready offers none."""
    found = machine("node-1", **shape)

    assert (found.usable_fpgas, found.fpga_trouble()) == (usable, trouble)


def test_names_are_sorted_as_people_count() -> None:
    """node-2 comes before node-10."""
    names = [row.name for row in machines_of([node("node-10"), node("node-2"), node("a"), node("node-2b")], "x/y")]

    assert names == ["a", "node-2", "node-2b", "node-10"]


def test_who_holds_fpgas() -> None:
    """Pods count with what they request, by node; finished, unbound and other pods hold nothing."""
    pods = [
        pod("serves", "node-1"),
        pod("leaves", "node-2", leaving=True),
        pod("done", "node-3", phase="Succeeded"),
        pod("plain", "node-3", fpgas=0),
        pod("waits", ""),
    ]

    found = uses_of(pods, FPGA_RESOURCE)

    assert {name: [(use.pod, use.is_leaving) for use in uses] for name, uses in found.items()} == {
        "node-1": [("vision/serves", False)],
        "node-2": [("vision/leaves", True)],
    }


def test_init_containers_do_not_add_up() -> None:
    """Containers run at once and add up; an init container runs before them, so the larger of both counts."""
    wanting = {"resources": {"limits": {FPGA_RESOURCE: "1"}}}
    both = pod("both", "node-1")
    both["spec"]["initContainers"] = [wanting, wanting]
    two = pod("two", "node-2")
    two["spec"]["containers"].append(wanting)

    found = uses_of([both, two], FPGA_RESOURCE)

    assert [found["node-1"][0].fpgas, found["node-2"][0].fpgas] == [1, 2]
