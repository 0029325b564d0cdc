"""Webservice: an image on a compute target, answering TensorFlow Serving's gRPC API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import faults, project
from accelform.plans import names, scaling, serving
from accelform.plans.contract import UNKNOWN, Planned, Problem, all_known
from accelform.resources import common, webservice_access
from accelform.resources.base import AccelProvider, AccelResource, Values
from accelform.resources.versioned import find_version
from accelform.resources.webservice_properties import CONTRACT

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.compute_target import ComputeTarget
    from accelform.resources.image import Image
    from accelform.targets.edge import EdgeBox, ServiceSpec

_POSITIVE = (
    "scoring_timeout_ms",
    "max_request_wait_time_ms",
    "replica_max_concurrent_requests",
    "deployment_timeout_seconds",
)
_LOOKED_AT = (
    "name",
    "port",
    "http_enabled",
    "http_port",
    "target_name",
    "edge_root",
    "target_fpgas",
    "num_replicas",
)
"""Without all of these a look at the box would be a guess."""


class WebserviceProvider(AccelProvider):
    """Deploys an image on an edge box and keeps it there."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        known = {key: value for key, value in inputs.items() if all_known(inputs, (key,))}
        problems = common.property_problems(inputs, stored)
        if "name" in known and (reason := names.SERVICE.problem(known["name"])):
            problems.append(Problem(property="name", reason=reason))
        problems.extend(scaling.problems(known))
        problems.extend(scaling.positive(known, _POSITIVE))
        problems.extend(serving.problems(known, pending=inputs.keys() - known.keys()))
        # A key counts as given also where its value is not known yet.
        given: Values = {key: UNKNOWN for key in ("primary_key", "secondary_key") if key in inputs}
        problems.extend(serving.key_problems({**known, **given}))
        foretold, unusable = webservice_access.plan_tls(inputs)
        problems.extend(unusable)
        if not problems and all_known(inputs, _LOOKED_AT):
            problems.extend(_target_problems(inputs))
        return Planned(computed={**_follows(inputs), **foretold}, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        outputs = self._deploy(inputs, stored={})
        faults.fault_point("webservice:after-deploy")
        return inputs["name"], outputs

    def look(self, id_: str, values: Values) -> Values | None:
        state = _box(values).service(values["name"])
        if state is None or state.owner != values["owner"]:
            return None
        return {**values, "state": state.state}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        outputs = self._deploy(inputs, stored=stored)
        return {**outputs, "created_time": stored["created_time"]}

    def remove(self, id_: str, stored: Values) -> None:
        _box(stored).remove(stored["name"], owner=stored["owner"])

    def _deploy(self, inputs: Values, *, stored: Values) -> Values:
        from accelform.images import oci
        from accelform.store.manifest import utc_now

        store = common.open_store(inputs)
        image = find_version(
            store, kind="images", owner=inputs["image_owner"], digest=inputs["image_fingerprint"], what="image"
        )
        location = image.properties["image_location"]

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
            tls=tls,
        )
        _box(inputs).deploy(
            spec, unpack=unpack, timeout_seconds=inputs["deployment_timeout_seconds"], progress=common.note
        )
        return {
            "image_digest": image.properties["image_digest"],
            "service_keys": keys,
            "token_signing_key": tokens.signing_key,
            "token_public_keys": list(tokens.public_keys),
            "ssl_certificate": tls.certificate.decode("ascii", "replace") if tls else "",
            "created_time": utc_now(),
        }


def _box(values: Mapping[str, Any]) -> EdgeBox:
    from accelform.targets.edge import EdgeBox

    return EdgeBox(project.resolve(values["edge_root"]) / values["target_name"])


def _spec(inputs: Values, **made: Any) -> ServiceSpec:
    from accelform.targets.edge import ServiceSpec

    return ServiceSpec(
        name=inputs["name"],
        owner=inputs["owner"],
        port=inputs["port"],
        http_enabled=inputs["http_enabled"],
        http_port=inputs["http_port"],
        metrics_open=inputs["metrics_open"],
        auth_enabled=serving.keys_wanted(inputs),
        token_auth_enabled=inputs["token_auth_enabled"],
        ssl_cname=inputs.get("ssl_cname") or "",
        engine=inputs["engine"],
        strict_model_spec=inputs["strict_model_spec"],
        model_root=str(project.resolve(inputs["model_root"])) if inputs.get("model_root") else "",
        num_replicas=inputs.get("num_replicas") or 1,
        scoring_timeout_ms=inputs["scoring_timeout_ms"],
        max_request_wait_time_ms=inputs["max_request_wait_time_ms"],
        max_queue=inputs["replica_max_concurrent_requests"],
        lame_duck_seconds=float(inputs["lame_duck_seconds"]),
        drain_seconds=float(inputs["drain_seconds"]),
        otlp_endpoint=inputs.get("otlp_endpoint") or "",
        tags=inputs.get("tags") or {},
        **made,
    )


def _follows(inputs: Values) -> dict[str, Any]:
    """What follows from the inputs without a look at any file."""
    found: dict[str, Any] = {"state": "Healthy"}
    known = all_known(inputs, ("auth_enabled", "token_auth_enabled"))
    found["auth_enabled"] = serving.keys_wanted(inputs) if known else UNKNOWN
    address = ("ssl_enabled", "ssl_cname")
    found["scoring_uri"] = serving.uri(inputs, inputs["port"]) if all_known(inputs, ("port", *address)) else UNKNOWN
    found["http_uri"] = UNKNOWN
    if all_known(inputs, ("http_enabled", "http_port", *address)):
        found["http_uri"] = serving.uri(inputs, inputs["http_port"]) if inputs["http_enabled"] else ""
    return found


def _target_problems(inputs: Values) -> list[Problem]:
    """What the target says against this service: too few FPGAs, a resident model, a port in use."""
    from accelform.targets.edge import capacity_problem, port_problem

    box = _box(inputs).describe()
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
        found.append((key, port_problem(inputs[key], service=name, box=box, owner=owner)))
    return [Problem(property=key, reason=reason) for key, reason in found if reason]


class Webservice(AccelResource, module="accel", name="Webservice"):
    """A web service on `target`, like Azure ML's `AksWebservice`; keys are secrets."""

    contract = CONTRACT

    name: Output[str]
    scoring_uri: Output[str]
    state: Output[str]
    image_digest: Output[str]
    service_keys: Output[Mapping[str, str]]
    token_signing_key: Output[str]
    token_public_keys: Output[list[str]]
    http_uri: Output[str]
    ssl_certificate: Output[str]
    ssl_cert_expires: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        image: Image,
        target: ComputeTarget,
        num_replicas: Input[int] | None = None,
        autoscale_enabled: Input[bool] | None = None,
        autoscale_min_replicas: Input[int] | None = None,
        autoscale_max_replicas: Input[int] | None = None,
        autoscale_refresh_seconds: Input[int] | None = None,
        autoscale_target_utilization: Input[int] | None = None,
        port: Input[int] | None = None,
        http_enabled: Input[bool] | None = None,
        http_port: Input[int] | None = None,
        metrics_open: Input[bool] | None = None,
        auth_enabled: Input[bool] | None = None,
        primary_key: Input[str] | None = None,
        secondary_key: Input[str] | None = None,
        primary_key_generation: Input[int] | None = None,
        secondary_key_generation: Input[int] | None = None,
        token_auth_enabled: Input[bool] | None = None,
        token_key_generation: Input[int] | None = None,
        ssl_enabled: Input[bool] | None = None,
        ssl_cert_pem_file: Input[str] | None = None,
        ssl_key_pem_file: Input[str] | None = None,
        ssl_cname: Input[str] | None = None,
        ssl_client_ca_pem_file: Input[str] | None = None,
        engine: Input[str] | None = None,
        strict_model_spec: Input[bool] | None = None,
        model_root: Input[str] | None = None,
        scoring_timeout_ms: Input[int] | None = None,
        max_request_wait_time_ms: Input[int] | None = None,
        replica_max_concurrent_requests: Input[int] | None = None,
        lame_duck_seconds: Input[int] | None = None,
        drain_seconds: Input[int] | None = None,
        otlp_endpoint: Input[str] | None = None,
        deployment_timeout_seconds: Input[int] | None = None,
        tags: Input[Mapping[str, str]] | None = None,
        properties: Input[Mapping[str, str]] | None = None,
        description: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        settings = {key: value for key, value in locals().items() if key in CONTRACT.names(computed=False)}
        inputs = {
            **settings,
            "target_kind": target.kind,
            "target_name": target.name,
            "target_fpgas": target.fpga_capacity,
            "target_claims": target.claim(str(name), 1 if num_replicas is None else num_replicas),
            "edge_root": target.edge_root,
            "storage_url": image.storage_url,
            "image_name": image.name,
            "image_fingerprint": image.fingerprint,
            "image_owner": image.owner,
        }
        super().__init__(WebserviceProvider(), resource_name, inputs, opts)

    @property
    def primary_key(self) -> Output[str]:
        """The first key; a secret."""
        return self.service_keys.apply(lambda keys: keys.get("primary", ""))

    @property
    def secondary_key(self) -> Output[str]:
        """The second key; a secret."""
        return self.service_keys.apply(lambda keys: keys.get("secondary", ""))
