"""A compute target of kind `edge`: one box on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.plans.contract import Problem
from accelform.resources import common
from accelform.resources.base import Values

if TYPE_CHECKING:
    from accelform.targets.edge import EdgeBox


def problems(inputs: Mapping[str, Any], known: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the settings of a box; `known` holds those whose value is known already."""
    if "edge_root" in inputs:
        from accelform.targets.edge.layout import root_problem

        there = {"edge_root", "name"} <= known.keys()
        reason = root_problem(project.resolve(known["edge_root"]) / known["name"]) if there else None
        return [Problem(property="edge_root", reason=reason)] if reason else []
    return [Problem(property="edge_root", reason="an edge target needs edge_root, the folder of its box")]


def foretell(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the settings beside what every target foretells."""
    return {"pool_selector": {}, "client_hint": "run clients on this machine: the box listens on loopback only"}


def provision(inputs: Values, stored: Mapping[str, Any]) -> Values:
    """Makes the box, or brings it to `inputs`; its outputs."""
    state = _box(inputs).provision(
        owner=inputs["owner"],
        formerly=stored.get("owner") or "",
        checkout=str(project.root()),
        name=inputs["name"],
        agent_count=inputs["agent_count"],
        vm_size=inputs["vm_size"],
        location=inputs["location"],
        progress=common.note,
    )
    return {
        "provisioning_errors": list(state.provisioning_errors),
        "nodes": [f"{inputs['name']}-{index}" for index in range(inputs["agent_count"])],
    }


def ailing(values: Values) -> str:
    """Why the box does not run; "" where it does."""
    state = _box(values).describe()
    if state is None:
        return "its box is gone"
    return "; ".join(state.provisioning_errors) if state.owner == values["owner"] else ""


def look(values: Values) -> Values | None:
    """The box as it is; None where it is gone or another's."""
    state = _box(values).describe()
    if state is None or state.owner != values["owner"]:
        return None
    return {
        "agent_count": state.agent_count,
        "fpga_capacity": state.agent_count,
        "provisioning_state": state.provisioning_state,
        "provisioning_errors": list(state.provisioning_errors),
    }


def release(stored: Mapping[str, Any]) -> None:
    """Removes the box; one that is gone is fine."""
    _box(stored).release(owner=stored["owner"])
    with contextlib.suppress(OSError):  # other boxes may stand beside it
        project.resolve(stored["edge_root"]).rmdir()


def _box(values: Mapping[str, Any]) -> EdgeBox:
    from accelform.targets.edge import EdgeBox

    return EdgeBox(project.resolve(values["edge_root"]) / values["name"])
