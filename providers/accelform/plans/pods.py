"""What the pods of a web service get: processors, memory, probes, an address; AksWebservice's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from accelform.plans.contract import Problem
from accelform_runtime.settings import LOAD_BALANCER_TYPES, Address, Pods, Serving, settings_of
from accelform_runtime.settings import problems as setting_problems

PUBLIC, INTERNAL, NODE_PORT, CLUSTER_IP = LOAD_BALANCER_TYPES
LONGEST_NAMESPACE: Final = 63
LONGEST_PERIOD_SECONDS: Final = 1800
"""Kubernetes' bound on how often an autoscaler's policy may act."""
_SERVING: Final = Serving()
_DECLARED: Final = (*settings_of(Address), *settings_of(Pods))
DEFAULTS: Final[Mapping[str, Any]] = {
    **{row.name: row.default for row in _DECLARED if not row.is_empty_by_default},
    "initial_delay_seconds": _SERVING.initial_delay_seconds,
}
"""What is filled in for a service in a cluster."""
_RESERVED_NAMESPACES: Final = ("default", "kube-system", "kube-public", "kube-node-lease")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_OF_BOXES: Final[Mapping[str, str]] = {
    "model_root": "a folder of an edge box; a pod has the one model of its image",
    "listen_address": "an address of an edge box; a pod listens at all of its own",
}


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with a service for pods; `inputs` holds only the settings that are set and known.

    Counts and bounds of replicas are in `scaling`; here they meet the pool: `agent_count` is its FPGAs, where known.
    """
    return [*_place(inputs), *_amounts(inputs), *_autoscaler(inputs)]


def namespace_problem(namespace: str) -> str | None:
    """What is wrong with `namespace` as a namespace of its own."""
    if namespace in _RESERVED_NAMESPACES:
        return f"namespace {namespace!r} belongs to the cluster itself; choose another, or leave it out"
    if len(namespace) <= LONGEST_NAMESPACE and _NAMESPACE.fullmatch(namespace):
        return None
    return (
        f"namespace {namespace!r} must be 1 to {LONGEST_NAMESPACE} lower case letters, digits or '-', "
        "starting and ending with a letter or digit"
    )


def _place(inputs: Mapping[str, Any]) -> list[Problem]:
    found = []
    if not inputs.get("kube_context", "unknown yet"):
        found.append(
            Problem(
                property="kube_context",
                reason="kube_context is needed: the cluster's name in your kubeconfig (`kubectl config get-contexts`), "
                "so that no other cluster is changed by mistake",
            )
        )
    if (namespace := inputs.get("namespace")) is not None and (reason := namespace_problem(namespace)):
        found.append(Problem(property="namespace", reason=reason))
    kind = inputs.get("load_balancer_type")
    if inputs.get("load_balancer_subnet") and kind != INTERNAL:
        reason = f"load_balancer_subnet goes with load_balancer_type {INTERNAL}, not {kind}; leave one of them out"
        found.append(Problem(property="load_balancer_subnet", reason=reason))
    found += [
        Problem(property=name, reason=f"{name} is {why}, so leave it out")
        for name, why in _OF_BOXES.items()
        if inputs.get(name) and inputs[name] != getattr(_SERVING, name)
    ]
    return found


def _amounts(inputs: Mapping[str, Any]) -> list[Problem]:
    taken_alone = setting_problems(_DECLARED, inputs)
    found = [Problem(property=name, reason=reason) for name, reason in taken_alone.items()]
    for name in ("cpu_cores", "memory_gb"):
        wanted, most = inputs.get(name), inputs.get(f"{name}_limit")
        if wanted is not None and most is not None and most < wanted:
            reason = f"{name}_limit {most:g} is below {name} {wanted:g}"
            found.append(Problem(property=f"{name}_limit", reason=reason))
    return found


def _autoscaler(inputs: Mapping[str, Any]) -> list[Problem]:
    if not inputs.get("autoscale_enabled"):
        return []
    found = []
    fpgas = inputs.get("agent_count")
    for name in ("autoscale_min_replicas", "autoscale_max_replicas"):
        asked = inputs.get(name)
        if fpgas is not None and asked is not None and asked > fpgas:
            reason = f"{name} is {asked}, one FPGA each, but the pool has {fpgas}; raise agent_count to {asked}"
            found.append(Problem(property=name, reason=reason))
    refresh = inputs.get("autoscale_refresh_seconds")
    if refresh is not None and refresh > LONGEST_PERIOD_SECONDS:
        reason = f"autoscale_refresh_seconds must be at most {LONGEST_PERIOD_SECONDS}, not {refresh}"
        found.append(Problem(property="autoscale_refresh_seconds", reason=reason))
    return found
