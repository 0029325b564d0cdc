"""A web service in a cluster: its objects are made by Pulumi's Kubernetes provider, and here is the gate behind them.

The gate makes nothing. It waits until the pods of the wished image serve, finds out the address, and checks there that
the service answers and takes its keys. Where that fails the objects stay as they are, and the next `pulumi up` waits
again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.plans import certificates, pods, scaling, serving
from accelform.plans.cluster_names import POOL_LABEL
from accelform.plans.contract import UNKNOWN, Problem, all_known
from accelform.resources import common
from accelform.resources.base import Values
from accelform.resources.versioned import find_version

if TYPE_CHECKING:
    from accelform.targets.kubernetes.address import Address
    from accelform.targets.kubernetes.gate import Gate, Wish

UNFORESEEN: tuple[str, ...] = ("scoring_uri", "http_uri")
"""The cluster chooses the address."""
_REQUIRED = ("namespace", "kube_context")
_ELSEWHERE = ("primary_key", "secondary_key", "ssl_cert_pem_file", "ssl_key_pem_file", "ssl_client_ca_pem_file")
"""What belongs to ServiceAccess, which makes the Secret's content before the pods start."""
_ACCESS = ("access_keys", "access_token_public_keys", "access_certificate")
_COUNTED = ("name", "num_replicas", "autoscale_enabled", *scaling.AUTOSCALE_KEYS, "target_fpgas", "target_name")


def foretold(inputs: Values) -> tuple[Values, list[Problem]]:
    """What follows from the inputs; nothing of it needs the cluster."""
    found: Values = {**pods.DEFAULTS, "state": "Healthy", "ssl_client_ca_digest": ""}
    if not all_known(inputs, ("access_certificate",)):
        return {**found, "ssl_cert_digest": UNKNOWN, "ssl_cert_expires": UNKNOWN}, []
    shown = str(inputs.get("access_certificate") or "").encode()
    expires = certificates.read(shown).expires_text if shown else ""
    return {**found, "ssl_cert_digest": certificates.digest(shown) if shown else "", "ssl_cert_expires": expires}, []


def problems(inputs: Values) -> list[Problem]:
    """What is wrong with these inputs in a cluster."""
    found = [
        Problem(property=name, reason=f"a service in a cluster needs {name}")
        for name in _REQUIRED
        if name not in inputs
    ]
    misplaced = [name for name in _ELSEWHERE if name in inputs]
    if misplaced:
        shown = "" if misplaced[0].endswith("_key") else misplaced[0]
        reason = (
            f"{', '.join(misplaced)} must be given to the ServiceAccess of a service in a cluster, not to the service"
        )
        found.append(Problem(property=shown, reason=reason))
    known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
    fpgas = {"agent_count": known["target_fpgas"]} if "target_fpgas" in known else {}
    return [*found, *pods.problems({**pods.DEFAULTS, **known, **fpgas})]


def target_problems(inputs: Values) -> list[Problem]:
    """More replicas than the pool has FPGAs for; told without asking the cluster."""
    if not all_known(inputs, _COUNTED):
        return []
    name, target, fpgas = inputs["name"], inputs["target_name"], inputs["target_fpgas"]
    most = scaling.replica_range(inputs, fpgas)[1]
    reason = scaling.capacity_problem(name, most, fpgas, target)
    if reason is None and all_known(inputs, ("target_claims",)):
        reason = scaling.claim_problem(name, most, fpgas, target, claims=inputs["target_claims"])
    asked = "autoscale_max_replicas" if inputs.get("autoscale_enabled") else "num_replicas"
    return [Problem(property=asked if asked in inputs else "target_name", reason=reason)] if reason else []


def announcements(inputs: Values, stored: Mapping[str, Any]) -> list[str]:
    """The pause of a service whose only pod is replaced in a pool without a free FPGA; an address that may move."""
    if not stored or not all_known(inputs, (*_COUNTED, "pool_selector", "load_balancer_type")):
        return []
    name, target, fpgas = inputs["name"], inputs["target_name"], inputs["target_fpgas"]
    found = []
    if fpgas < stored.get("target_fpgas", 0) and inputs.get("load_balancer_type") == pods.NODE_PORT:
        found.append(
            f"service {name!r}: target {target!r} gives machines back; should the one that scoring_uri names be among "
            "them, another one takes its place, and `pulumi up` tells both addresses"
        )
    is_shared = POOL_LABEL not in (inputs.get("pool_selector") or {})
    has_spare = scaling.spare_fpgas(inputs, fpgas) and not is_shared
    if inputs.get("pods_digest") == stored.get("pods_digest") or has_spare:
        return found
    if scaling.replica_range(inputs, fpgas)[1] > 1:
        return found
    return [
        *found,
        f"service {name!r} pauses: target {target!r} has no second FPGA, so its only pod stops before its successor "
        "loads the model, and calls get UNAVAILABLE meanwhile. With agent_count 2 a successor comes first, with "
        "num_replicas 2 another pod serves on",
    ]


def deploy(inputs: Values, stored: Values) -> Values:
    """Waits until the service serves as wished; returns the outputs."""
    from accelform.store.manifest import utc_now

    store = common.open_store(inputs)
    image = find_version(
        store, kind="images", owner=inputs["image_owner"], digest=inputs["image_fingerprint"], what="image"
    )
    changed = bool(stored) and any(inputs.get(name) != stored.get(name) for name in _ACCESS)
    told = {name: stored.get(f"{name}_uri") or "" for name in ("scoring", "http")}
    wish = _wish(
        {**inputs, **{f"{name}_uri": uri for name, uri in told.items()}},
        image_location=image.properties["image_location"],
        access_changed=changed,
    )
    address = _gate(inputs).wait(wish, timeout_seconds=inputs["deployment_timeout_seconds"])
    for name, (before, now) in _moved(told, address).items():
        common.note(f"service {inputs['name']!r}: {name}_uri was {before} and is {now} now; tell its clients")
    return {
        "image_digest": image.properties["image_digest"],
        "service_keys": inputs.get("access_keys") or {},
        "token_signing_key": inputs.get("access_token_signing_key") or "",
        "token_public_keys": inputs.get("access_token_public_keys") or [],
        "ssl_certificate": inputs.get("access_certificate") or "",
        "scoring_uri": address.scoring_uri,
        "http_uri": address.http_uri,
        "created_time": utc_now(),
    }


def ailing(values: Values) -> str:
    """Nobody looks: a preview does not need the cluster, which starts again what ends; `pulumi refresh` looks."""
    return ""


def look(values: Values) -> Values | None:
    """The service as the cluster has it now, laid over `values`; None where it is gone."""
    seen = _gate(values).look(_wish(values))
    if seen is None:
        return None
    uris = {"scoring_uri": seen.address.scoring_uri, "http_uri": seen.address.http_uri} if seen.address else {}
    return {**values, "state": seen.state, **uris}


def remove(stored: Values) -> None:
    """Nothing of its own is there: its objects go after it."""
    common.note(f"service {stored['name']!r} ends: its pods get {stored['drain_seconds']} s for the calls they have")


def _moved(told: Mapping[str, str], address: Address) -> dict[str, tuple[str, str]]:
    """URIs that clients were told and that lead elsewhere now: before and after."""
    now = {"scoring": address.scoring_uri, "http": address.http_uri}
    return {name: (uri, now[name]) for name, uri in told.items() if uri and uri != now[name]}


def _gate(values: Mapping[str, Any]) -> Gate:
    from accelform.targets.kubernetes.gate import Gate

    path = values.get("kubeconfig") or ""
    return Gate.at(
        kubeconfig=str(project.resolve(path)) if path else "", context=values["kube_context"], progress=common.note
    )


def _wish(inputs: Mapping[str, Any], *, image_location: str = "", access_changed: bool = False) -> Wish:
    from accelform.targets.kubernetes.gate import Wish

    return Wish(
        name=inputs["name"],
        namespace=inputs["namespace"],
        owner=inputs["owner"],
        image_location=image_location,
        resource_name=inputs.get("resource_name") or "",
        pool=inputs["target_name"],
        pool_selector=inputs.get("pool_selector") or {},
        ssl_enabled=inputs["ssl_enabled"],
        ssl_cname=inputs.get("ssl_cname") or "",
        certificate=str(inputs.get("access_certificate") or "").encode(),
        client_certificate=str(inputs.get("access_probe_file") or "").encode(),
        keys=tuple((inputs.get("access_keys") or {}).values()) if serving.keys_wanted(inputs) else (),
        token_signing_key=inputs.get("access_token_signing_key") or "",
        access_changed=access_changed,
        replicas=None if inputs.get("autoscale_enabled") else int(inputs.get("num_replicas") or 1),
        last_uris={"grpc": inputs.get("scoring_uri") or "", "http": inputs.get("http_uri") or ""},
    )
