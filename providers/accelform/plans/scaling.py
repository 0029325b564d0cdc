"""How many replicas a web service gets, and whether its target has an FPGA for each (AksWebservice's rules)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelform.plans.contract import Problem
from accelform_runtime.settings import Scaling, names_of, settings_of
from accelform_runtime.settings import problems as setting_problems

AUTOSCALE_KEYS = tuple(name for name in names_of(Scaling) if name not in ("num_replicas", "autoscale_enabled"))
MOST_REPLICAS = 10
"""Azure ML's autoscale_max_replicas where none is given; a target with fewer FPGAs bounds it."""


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with the scaling settings; `inputs` holds only the ones that are set and known."""
    found: list[Problem] = []
    autoscale = bool(inputs.get("autoscale_enabled"))
    if autoscale and inputs.get("num_replicas") is not None:
        found.append(
            Problem(
                property="num_replicas",
                reason="num_replicas and autoscale_enabled exclude each other: "
                "leave num_replicas out, or set autoscale_enabled to false",
            )
        )
    given = [key for key in AUTOSCALE_KEYS if inputs.get(key) is not None]
    if given and not autoscale:
        found.append(Problem(property=given[0], reason=f"{', '.join(given)} need autoscale_enabled: true"))
    taken_alone = setting_problems(settings_of(Scaling), inputs)
    found.extend(Problem(property=name, reason=reason) for name, reason in taken_alone.items())
    low, high = inputs.get("autoscale_min_replicas"), inputs.get("autoscale_max_replicas")
    if low is not None and high is not None and low > high:
        found.append(
            Problem(
                property="autoscale_min_replicas",
                reason=f"autoscale_min_replicas {low} is above autoscale_max_replicas {high}",
            )
        )
    if autoscale and inputs.get("target_kind") == "edge":
        found.append(
            Problem(
                property="autoscale_enabled",
                reason="an edge box has a fixed number of FPGAs and does not autoscale; set num_replicas instead",
            )
        )
    return found


def replica_range(inputs: Mapping[str, Any], fpgas: int) -> tuple[int, int]:
    """Fewest and most replicas on a target with `fpgas` FPGAs; the same number twice without autoscale.

    >>> replica_range({"autoscale_enabled": True, "autoscale_min_replicas": 2}, 4)
    (2, 4)
    """
    if not inputs.get("autoscale_enabled"):
        fixed = inputs.get("num_replicas")
        return (1, 1) if fixed is None else (int(fixed), int(fixed))
    low = inputs.get("autoscale_min_replicas") or 1
    return int(low), int(inputs.get("autoscale_max_replicas") or max(low, min(MOST_REPLICAS, fpgas)))


def spare_fpgas(inputs: Mapping[str, Any], fpgas: int) -> int:
    """FPGAs that a service on a target of its own leaves free when it has all its replicas.

    >>> spare_fpgas({"num_replicas": 1}, 2)
    1
    """
    return max(0, fpgas - replica_range(inputs, fpgas)[1])


def positive(inputs: Mapping[str, Any], names: tuple[str, ...]) -> list[Problem]:
    """One problem for each of `names` that is set and not above zero."""
    return [
        Problem(property=name, reason=f"{name} must be above 0, not {inputs[name]}")
        for name in names
        if inputs.get(name) is not None and inputs[name] <= 0
    ]


def capacity_problem(service: str, wanted_replicas: int, fpgas: int, target: str) -> str | None:
    """What is wrong with asking `target` for more replicas than it has FPGAs."""
    if wanted_replicas <= fpgas:
        return None
    return (
        f"{service!r} asks for {wanted_replicas} replicas, one FPGA each, but {target!r} has {fpgas}; "
        f"lower num_replicas or raise the target's agent_count to {wanted_replicas}"
    )


def claim_problem(service: str, wanted_replicas: int, fpgas: int, target: str, *, claims: Sequence[str]) -> str | None:
    """What is wrong where other services of the same program hold `target`'s FPGAs; `claims` has one name for each."""
    if len(claims) + wanted_replicas <= fpgas:
        return None
    return (
        f"{target!r} has {fpgas} FPGA{'s' if fpgas > 1 else ''} for {service!r}, but this program already gives "
        f"{len(claims)} to {', '.join(repr(name) for name in claims)}; one FPGA holds one model, so raise "
        f"agent_count to {len(claims) + wanted_replicas} or drop a service"
    )
