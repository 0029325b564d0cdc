"""A web service on an edge box: what it foretells, refuses, and does there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.plans import scaling, serving
from accelform.plans.contract import UNKNOWN, Problem, all_known
from accelform.resources import common, webservice_access
from accelform.resources.base import Values
from accelform.resources.versioned import find_version
from accelform.resources.webservice_cluster_properties import CLUSTER_ONLY
from accelform_runtime.settings import Serving, values_of

if TYPE_CHECKING:
    from pathlib import Path

    from accelform.targets.edge import EdgeBox, ServiceSpec

_LOOKED_AT = (
    "name",
    "port",
    "http_enabled",
    "http_port",
    "listen_address",
    "target_name",
    "edge_root",
    "target_fpgas",
    "num_replicas",
)
"""Without all of these a look at the box would be a guess."""
UNFORESEEN: tuple[str, ...] = ()
_ADOPTED = (
    "service {name!r} is on its box already and not in this stack's state: it is taken over. The state had its keys, "
    "so those that are not set are new: give clients the outputs primary_key and secondary_key"
)
PROBE_TOKEN_SECONDS = 600
"""For which the token is valid that a deploy asks the service with."""


def foretold(inputs: Values) -> tuple[Values, list[Problem]]:
    """What follows from the inputs and the TLS files that they name, and everything wrong with those."""
    found: Values = {"state": "Healthy"}
    address = ("ssl_enabled", "ssl_cname", "listen_address")
    found["scoring_uri"] = serving.uri(inputs, inputs["port"]) if all_known(inputs, ("port", *address)) else UNKNOWN
    found["http_uri"] = UNKNOWN
    if all_known(inputs, ("http_enabled", "http_port", *address)):
        found["http_uri"] = serving.uri(inputs, inputs["http_port"]) if inputs["http_enabled"] else ""
    files, unusable = webservice_access.plan_tls(inputs)
    return {**found, **files}, unusable


def problems(inputs: Values) -> list[Problem]:
    """What is wrong with these inputs on an edge box, apart from what the box says."""
    given = [name for name in CLUSTER_ONLY if name in inputs]
    if not given:
        return []
    verb = "belongs" if len(given) == 1 else "belong"
    reason = f"{', '.join(given)} {verb} to a service on a cluster; drop {'it' if len(given) == 1 else 'them'} here"
    return [Problem(property="" if given[0].startswith("access_") else given[0], reason=reason)]


def target_problems(inputs: Values) -> list[Problem]:
    """What the box says against this service: too few FPGAs, a resident model, a port in use."""
    if not all_known(inputs, _LOOKED_AT):
        return []
    from accelform.targets.edge import capacity_problem, port_problem

    place = _box(inputs)
    box = place.describe()
    name, owner, fpgas = inputs["name"], inputs["owner"], inputs["target_fpgas"]
    replicas = inputs.get("num_replicas") or 1
    capacity = (
        scaling.capacity_problem(name, replicas, fpgas, inputs["target_name"])
        or scaling.claim_problem(name, replicas, fpgas, inputs["target_name"], claims=inputs["target_claims"])
        or capacity_problem(replicas, service=name, box=box, fpgas=fpgas, owner=owner)
    )
    asked = "num_replicas" if "num_replicas" in inputs else "target_name"
    found = [(asked, capacity)]
    for key in ("port", *(["http_port"] if inputs["http_enabled"] else [])):
        problem = port_problem(
            inputs[key],
            service=name,
            box=box,
            owner=owner,
            listen_address=serving.listen_address(inputs),
            root=place.root,
            checkout=str(project.root()),
        )
        found.append((key, problem))
    return [Problem(property=key, reason=reason) for key, reason in found if reason]


def announcements(inputs: Values, stored: Mapping[str, Any]) -> list[str]:
    """Nothing before it happens: the box itself announces and measures a pause."""
    return []


def deploy(inputs: Values, stored: Values) -> Values:
    """Makes the box run the service; returns the outputs."""
    from accelform.images import oci
    from accelform.store.manifest import utc_now

    store = common.open_store(inputs)
    image = find_version(
        store, kind="images", owner=inputs["image_owner"], digest=inputs["image_fingerprint"], what="image"
    )
    # The store may have been moved with its folder since the image was built.
    location = oci.located_in(store, image.properties["image_location"])

    def unpack(folder: Path) -> None:
        oci.unpack(store, location, folder)

    keys = webservice_access.service_keys(inputs, stored)
    tokens = webservice_access.token_keys(inputs, stored)
    tls = webservice_access.tls_files(inputs)
    spec = _spec(
        inputs,
        image_location=location,
        image_digest=image.properties["image_digest"],
        keys=tuple(keys.values()),
        token_public_keys=tokens.public_keys,
        probe_token=_probe_token(inputs["name"], tokens),
        tls=tls,
    )
    formerly = stored.get("owner") or ""
    box = _box(inputs)
    if keys and not stored and box.service(inputs["name"]) is not None:
        # Printed and no passing note: clients that have a key of before are refused from now on.
        print(_ADOPTED.format(name=inputs["name"]), flush=True)
    box.deploy(
        spec,
        formerly=formerly,
        unpack=unpack,
        timeout_seconds=inputs["deployment_timeout_seconds"],
        progress=common.note,
    )
    return {
        "image_digest": image.properties["image_digest"],
        "service_keys": keys,
        "token_signing_key": tokens.signing_key,
        "token_public_keys": list(tokens.public_keys),
        "ssl_certificate": tls.certificate.decode("ascii", "replace") if tls else "",
        "created_time": utc_now(),
    }


def _probe_token(name: str, tokens: webservice_access.TokenKeys) -> str:
    from accelform_runtime.tokens import mint

    return mint(tokens.signing_key, name, PROBE_TOKEN_SECONDS) if tokens.signing_key else ""


def ailing(values: Values) -> str:
    """Why the service does not serve as it should, for whoever can repair it; "" where it does or is about to."""
    box = _box(values)
    if box.displaced() is not None:
        return ""  # the box says so itself, and its update starts the service anew
    state = box.service(values["name"])
    if state is None:
        return "it is gone"
    if state.owner != values["owner"] or state.state in ("Healthy", "Transitioning"):
        return ""
    return state.reason


def look(values: Values) -> Values | None:
    """The service as the box has it now, laid over `values`; None where it is gone."""
    state = _box(values).service(values["name"])
    if state is None or state.owner != values["owner"]:
        return None
    return {**values, "state": state.state}


def remove(stored: Values) -> None:
    """Stops the service and removes what it had."""
    _box(stored).remove(stored["name"], owner=stored["owner"])


def _box(values: Mapping[str, Any]) -> EdgeBox:
    from accelform.targets.edge import EdgeBox

    return EdgeBox(project.resolve(values["edge_root"]) / values["target_name"])


def _spec(inputs: Values, **made: Any) -> ServiceSpec:
    from accelform.targets.edge import ServiceSpec

    obeyed = {**values_of(Serving, inputs), "auth_enabled": serving.keys_wanted(inputs)}
    if root := inputs.get("model_root"):
        obeyed["model_root"] = str(project.resolve(root))
    return ServiceSpec(
        name=inputs["name"],
        owner=inputs["owner"],
        serving=Serving(**obeyed),
        ssl_cname=inputs.get("ssl_cname") or "",
        num_replicas=inputs.get("num_replicas") or 1,
        tags=inputs.get("tags") or {},
        **made,
    )
