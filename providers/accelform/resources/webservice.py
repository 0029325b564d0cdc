"""Webservice: an image on a compute target, answering TensorFlow Serving's gRPC API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import faults, project
from accelform.plans import names, scaling
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values
from accelform.resources.versioned import find_version

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

CONTRACT = ResourceContract(
    name="Webservice",
    summary="A service that scores images on an FPGA; it exists once it answers SERVING.",
    delete_before_replace=True,
    properties=(
        Property(name="name", kind="string", role="replace", required=True, description="service name"),
        Property(
            name="target_kind", kind="string", role="replace", required=True, description="kind of the compute target"
        ),
        Property(
            name="target_name", kind="string", role="replace", required=True, description="name of the compute target"
        ),
        Property(
            name="target_fpgas", kind="integer", role="update", required=True, description="FPGAs of the compute target"
        ),
        Property(
            name="target_claims",
            kind="list",
            role="update",
            default=[],
            description="services of the same program that already hold an FPGA of the target, one entry each",
        ),
        Property(name="edge_root", kind="string", role="replace", description="folder of the edge boxes"),
        common.STORAGE_URL,
        Property(name="image_name", kind="string", role="update", required=True, description="name of the image"),
        Property(
            name="image_fingerprint", kind="string", role="update", required=True, description="identity of the image"
        ),
        Property(name="image_owner", kind="string", role="update", required=True, description="owner of the image"),
        Property(name="num_replicas", kind="integer", role="update", description="replicas, one FPGA each; default 1"),
        Property(
            name="autoscale_enabled", kind="boolean", role="update", description="scale by load; excludes num_replicas"
        ),
        Property(name="autoscale_min_replicas", kind="integer", role="update", description="fewest replicas"),
        Property(name="autoscale_max_replicas", kind="integer", role="update", description="most replicas"),
        Property(
            name="autoscale_refresh_seconds", kind="integer", role="update", unit="s", description="time between looks"
        ),
        Property(
            name="autoscale_target_utilization", kind="integer", role="update", unit="%", description="load to aim at"
        ),
        Property(name="port", kind="integer", role="update", default=50051, description="TCP port on an edge box"),
        Property(
            name="auth_enabled", kind="boolean", role="update", default=True, description="whether calls need a key"
        ),
        Property(
            name="primary_key",
            kind="string",
            role="update",
            secret=True,
            description="first key; generated when left out",
        ),
        Property(
            name="secondary_key",
            kind="string",
            role="update",
            secret=True,
            description="second key; generated when left out",
        ),
        Property(
            name="scoring_timeout_ms",
            kind="integer",
            role="update",
            default=60000,
            unit="ms",
            description="longest time one call may take",
        ),
        Property(
            name="max_request_wait_time_ms",
            kind="integer",
            role="update",
            default=500,
            unit="ms",
            description="longest time a call may wait for the FPGA",
        ),
        Property(
            name="replica_max_concurrent_requests",
            kind="integer",
            role="update",
            default=16,
            description="calls a replica holds at once, running and waiting",
        ),
        Property(
            name="deployment_timeout_seconds",
            kind="integer",
            role="update",
            default=120,
            unit="s",
            description="longest time to wait for SERVING",
        ),
        common.TAGS,
        common.PROPERTIES,
        common.DESCRIPTION,
        common.OWNER,
        Property(
            name="scoring_uri",
            kind="string",
            role="update",
            computed=True,
            description="where clients connect, without a path",
        ),
        Property(
            name="state",
            kind="string",
            role="update",
            computed=True,
            description="Healthy, or what a refresh found instead",
        ),
        Property(name="image_digest", kind="string", role="output", description="digest of the running image"),
        Property(name="service_keys", kind="map", role="output", secret=True, description="primary and secondary key"),
        common.CREATED_TIME,
    ),
)


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
        if "port" in known and not 1 <= known["port"] <= 65535:
            problems.append(Problem(property="port", reason=f"port must be between 1 and 65535, not {known['port']}"))
        if not known.get("auth_enabled", True) and ("primary_key" in inputs or "secondary_key" in inputs):
            problems.append(
                Problem(property="auth_enabled", reason="keys are given but auth_enabled is false; drop one of the two")
            )
        if not problems and all_known(
            inputs, ("name", "port", "target_name", "edge_root", "target_fpgas", "num_replicas")
        ):
            problems.extend(_target_problems(inputs))
        computed: dict[str, Any] = {"state": "Healthy"}
        if "port" in known:
            computed["scoring_uri"] = f"http://127.0.0.1:{known['port']}"
        return Planned(computed=computed, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        outputs = self._deploy(inputs, keys=_keys(inputs, {}))
        faults.fault_point("webservice:after-deploy")
        return inputs["name"], outputs

    def look(self, id_: str, values: Values) -> Values | None:
        state = _box(values).service(values["name"])
        if state is None or state.owner != values["owner"]:
            return None
        return {**values, "state": state.state}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        outputs = self._deploy(inputs, keys=_keys(inputs, stored.get("service_keys") or {}))
        return {**outputs, "created_time": stored["created_time"]}

    def remove(self, id_: str, stored: Values) -> None:
        _box(stored).remove(stored["name"], owner=stored["owner"])

    def _deploy(self, inputs: Values, *, keys: dict[str, str]) -> Values:
        from accelform.images import oci
        from accelform.store.manifest import utc_now

        store = common.open_store(inputs)
        image = find_version(
            store, kind="images", owner=inputs["image_owner"], digest=inputs["image_fingerprint"], what="image"
        )
        location = image.properties["image_location"]

        def unpack(folder: Path) -> None:
            oci.unpack(store, location, folder)

        spec = _spec(inputs, image_location=location, image_digest=image.properties["image_digest"], keys=keys)
        _box(inputs).deploy(
            spec, unpack=unpack, timeout_seconds=inputs["deployment_timeout_seconds"], progress=common.note
        )
        return {
            "image_digest": image.properties["image_digest"],
            "service_keys": keys,
            "created_time": utc_now(),
        }


def _box(values: Mapping[str, Any]) -> EdgeBox:
    from accelform.targets.edge import EdgeBox

    return EdgeBox(project.resolve(values["edge_root"]) / values["target_name"])


def _spec(inputs: Values, *, image_location: str, image_digest: str, keys: dict[str, str]) -> ServiceSpec:
    from accelform.targets.edge import ServiceSpec

    return ServiceSpec(
        name=inputs["name"],
        owner=inputs["owner"],
        image_location=image_location,
        image_digest=image_digest,
        port=inputs["port"],
        auth_enabled=inputs["auth_enabled"],
        keys=tuple(keys.values()),
        num_replicas=inputs.get("num_replicas") or 1,
        scoring_timeout_ms=inputs["scoring_timeout_ms"],
        max_request_wait_time_ms=inputs["max_request_wait_time_ms"],
        max_queue=inputs["replica_max_concurrent_requests"],
        tags=inputs.get("tags") or {},
    )


def _keys(inputs: Values, stored: Mapping[str, str]) -> dict[str, str]:
    """The service's two keys: the user's, else the ones it has, else new ones."""
    from accelform_runtime.keys import generate_key

    if not inputs["auth_enabled"]:
        return {}
    return {name: inputs.get(f"{name}_key") or stored.get(name) or generate_key() for name in ("primary", "secondary")}


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
    port = port_problem(inputs["port"], service=name, box=box, owner=owner)
    asked = "num_replicas" if "num_replicas" in inputs else "target_name"
    return [Problem(property=key, reason=reason) for key, reason in ((asked, capacity), ("port", port)) if reason]


class Webservice(AccelResource, module="accel", name="Webservice"):
    """A web service on `target`, like Azure ML's `AksWebservice`; keys are secrets."""

    contract = CONTRACT

    name: Output[str]
    scoring_uri: Output[str]
    state: Output[str]
    image_digest: Output[str]
    service_keys: Output[Mapping[str, str]]
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
        auth_enabled: Input[bool] | None = None,
        primary_key: Input[str] | None = None,
        secondary_key: Input[str] | None = None,
        scoring_timeout_ms: Input[int] | None = None,
        max_request_wait_time_ms: Input[int] | None = None,
        replica_max_concurrent_requests: Input[int] | None = None,
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
