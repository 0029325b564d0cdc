"""The rules for a pool of machines in a cluster, from its settings alone (AksCompute's rules where it has them)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from accelform.plans import quota, regions
from accelform.plans.cluster_names import FPGA_RESOURCE, POOL_LABEL
from accelform.plans.contract import Problem
from accelform_runtime.settings import LOAD_BALANCER_TYPES

DEVICE_PLUGINS: Final = ("emulated", "external")
"""Who offers a node's FPGAs to the kubelet: Accelform's own device plugin, or one that is there already."""

CLUSTER_PURPOSES: Final = ("DevTest", "FastProd", "DenseProd")
PRODUCTION_VCPUS: Final = 12
"""What Azure ML asks of a cluster for production."""

PROVISIONING_TIMEOUT_SECONDS: Final = 900
"""About what a pool took in Azure (documentation: about 15 minutes)."""

_OWN_PREFIX = "accelform.dev/"
_RESOURCE = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?/[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_NAME = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_CERTIFICATE = ("ssl_cname", "ssl_cert_pem_file", "ssl_key_pem_file")


def defaults(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a pool takes where nothing was said, so that a preview shows it and dependents know it."""
    found = {
        "kubeconfig": "",
        "resource_name": FPGA_RESOURCE,
        "device_plugin": DEVICE_PLUGINS[0],
        "is_attached": False,
        "node_selector": {},
        "node_vcpus": regions.VCPUS_OF_VM_SIZE[inputs["vm_size"]],
        "quota_vcpus": quota.limit_of(inputs["location"]),
        "provisioning_timeout_seconds": PROVISIONING_TIMEOUT_SECONDS,
        "cluster_purpose": "",
        "load_balancer_type": LOAD_BALANCER_TYPES[0],
        **dict.fromkeys(_CERTIFICATE, ""),
    }
    return {key: value for key, value in found.items() if key not in inputs}


def selector(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The node labels by which a service's pods find the pool."""
    if inputs.get("is_attached"):
        return dict(inputs["node_selector"])
    return {POOL_LABEL: inputs["name"]}


def problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """Everything wrong with a pool's settings; `inputs` holds only those that are set and known."""
    checks: dict[str, Callable[[Any], str | None]] = {
        "resource_name": _resource_problem,
        "device_plugin": lambda value: _choice_problem("device_plugin", value, DEVICE_PLUGINS),
        "cluster_purpose": lambda value: _choice_problem("cluster_purpose", value, CLUSTER_PURPOSES) if value else None,
        "load_balancer_type": lambda value: _choice_problem("load_balancer_type", value, LOAD_BALANCER_TYPES),
        "node_selector": _selector_problem,
        "node_vcpus": lambda value: _positive_problem("node_vcpus", value),
        "quota_vcpus": lambda value: _positive_problem("quota_vcpus", value),
        "provisioning_timeout_seconds": lambda value: _positive_problem("provisioning_timeout_seconds", value),
    }
    found = [
        Problem(property=key, reason=reason)
        for key, reason_of in checks.items()
        if key in inputs and (reason := reason_of(inputs[key]))
    ]
    return [*found, *_together(inputs)]


def quota_problem(inputs: Mapping[str, Any]) -> str | None:
    """What the region's limit says against the pool; an attached pool has its machines already."""
    if inputs.get("is_attached"):
        return None
    wanted = quota.Quota(
        location=inputs["location"],
        limit=quota.limit_of(inputs["location"], inputs.get("quota_vcpus")),
        needed=regions.vcpus(inputs["vm_size"], inputs["agent_count"]),
        vm_size=inputs["vm_size"],
    )
    return wanted.problem()


def _together(inputs: Mapping[str, Any]) -> list[Problem]:
    found = []
    if inputs.get("is_attached") and not inputs.get("node_selector", {"unknown": "yet"}):
        found.append(("node_selector", "an attached pool needs node_selector: the labels of the nodes that are it"))
    own = [key for key in inputs.get("node_selector") or {} if str(key).startswith(_OWN_PREFIX)]
    if own and not inputs.get("is_attached"):
        found.append(
            (
                "node_selector",
                f"{own[0]} is written by the pool's own claim; to use another stack's pool set is_attached",
            )
        )
    given = [key for key in _CERTIFICATE if inputs.get(key)]
    if given and len(given) < len(_CERTIFICATE):
        found.append((given[0], f"{', '.join(_CERTIFICATE)} go together: all three or none"))
    purpose, size = inputs.get("cluster_purpose"), inputs.get("vm_size")
    if (
        purpose in CLUSTER_PURPOSES[1:]
        and isinstance(size, str)
        and size in regions.VCPUS_OF_VM_SIZE
        and inputs.get("agent_count", 0) > 0
    ):
        has = regions.vcpus(size, inputs["agent_count"])
        if has < PRODUCTION_VCPUS:
            most = -(-PRODUCTION_VCPUS // regions.VCPUS_OF_VM_SIZE[size])
            reason = (
                f"cluster_purpose {purpose} needs {PRODUCTION_VCPUS} vCPUs, {inputs['agent_count']} × {size} have {has}"
            )
            found.append(("cluster_purpose", f"{reason}; raise agent_count to {most} or use DevTest"))
    return [Problem(property=key, reason=reason) for key, reason in found]


def _resource_problem(name: str) -> str | None:
    if not _RESOURCE.fullmatch(name):
        return f"resource_name {name!r} must be <domain>/<name>, such as {FPGA_RESOURCE}"
    if name.split("/")[0].endswith("kubernetes.io"):
        return f"resource_name {name!r} is in a domain of Kubernetes itself, which device plugins may not use"
    return None


def _selector_problem(labels: Mapping[str, Any]) -> str | None:
    for name, value in labels.items():
        if not _LABEL_NAME.fullmatch(name) or not isinstance(value, str) or not _LABEL_VALUE.fullmatch(value):
            return f"node_selector has {name!r}: {value!r}, which cannot be a node's label"
    return None


def _choice_problem(name: str, value: str, choices: tuple[str, ...]) -> str | None:
    return None if value in choices else f"{name} must be one of {', '.join(choices)}, not {value!r}"


def _positive_problem(name: str, value: int) -> str | None:
    return None if value > 0 else f"{name} must be above 0, not {value}"
