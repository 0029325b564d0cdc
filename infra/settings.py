"""The stack's configuration as one frozen object, with everything wrong in it reported at once."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

import pulumi

import foresight
import given
from accelform.errors import UserError
from accelform.plans import cluster_images, names, pods, pools, regions, scaling, serving, traffic
from parsing import parse

COUNTS = (
    "agent_count",
    "scoring_timeout_ms",
    "max_request_wait_time_ms",
    "replica_max_concurrent_requests",
    "deployment_timeout_seconds",
    "provisioning_timeout_seconds",
)
TARGETS = ("edge", "kubernetes")
LONGEST_PRESTOP_SECONDS = 120


class SettingsInvalid(UserError, pulumi.RunError):
    """The stack's configuration cannot be deployed; as a RunError it is shown without a traceback."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a stack chooses; defaults and descriptions stand in Pulumi.yaml, where `pulumi` checks them first."""

    workspace_name: str
    resource_group: str
    subscription_id: str
    location: str
    storage_url: str
    model_name: str
    model_path: str
    model_tags: Mapping[str, str]
    number_format: str
    require_fpga_conversion: bool
    calibration_images: str
    input_tensors: list[str]
    output_tensors: list[str]
    image_name: str
    target: str
    target_name: str
    vm_size: str
    agent_count: int
    edge_root: str
    kubeconfig: str
    kube_context: str
    namespace: str
    create_namespace: bool
    registry: str
    registry_ca_file: str
    base_image: str
    base_image_builder: str
    base_image_rootfs: str
    base_image_context: str
    device_plugin: str
    device_plugin_image: str
    resource_name: str
    is_attached: bool
    node_selector: Mapping[str, str]
    cluster_purpose: str
    provisioning_timeout_seconds: int
    load_balancer_type: str
    load_balancer_subnet: str
    service_annotations: Mapping[str, str]
    gateway: str
    traffic_percentiles: Mapping[str, int]
    cpu_cores: float
    memory_gb: float
    period_seconds: int
    initial_delay_seconds: int
    timeout_seconds: int
    success_threshold: int
    failure_threshold: int
    prestop_seconds: int
    service_name: str
    port: int
    http_enabled: bool
    http_port: int
    metrics_open: bool
    token_auth_enabled: bool
    primary_key_generation: int
    secondary_key_generation: int
    token_key_generation: int
    ssl_enabled: bool
    ssl_cert_pem_file: str
    ssl_key_pem_file: str
    ssl_cname: str
    ssl_client_ca_pem_file: str
    engine: str
    strict_model_spec: bool
    model_root: str
    scoring_timeout_ms: int
    max_request_wait_time_ms: int
    replica_max_concurrent_requests: int
    lame_duck_seconds: int
    drain_seconds: int
    otlp_endpoint: str
    deployment_timeout_seconds: int
    num_replicas: int | None = None
    autoscale_enabled: bool | None = None
    autoscale_min_replicas: int | None = None
    autoscale_max_replicas: int | None = None
    autoscale_refresh_seconds: int | None = None
    autoscale_target_utilization: int | None = None
    cpu_cores_limit: float | None = None
    memory_gb_limit: float | None = None
    node_vcpus: int | None = None
    quota_vcpus: int | None = None
    auth_enabled: bool | None = None
    primary_key: pulumi.Output[str] | None = None
    secondary_key: pulumi.Output[str] | None = None
    registry_pull_config: pulumi.Output[str] | None = None

    @classmethod
    def load(cls, config: pulumi.Config) -> Self:
        """Reads every field from the stack's configuration.

        Raises SettingsInvalid with all that is wrong: names, types, values, and then also what the settings lead to.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        told = given.unknown_names(config, fields)
        values: dict[str, Any] = {}
        broken: dict[str, str] = {}
        for name, field in fields.items():
            if "Output" in str(field.type):
                values[name] = config.get_secret(name)
                continue
            text = config.get(name)
            if problem := given.secret_problem(config, name):
                broken[name] = problem
            elif text is not None:
                try:
                    values[name] = parse(str(field.type), text)
                except ValueError as error:
                    broken[name] = f"{name} must be {error}, not {text!r}"
            elif field.default is dataclasses.MISSING:
                broken[name] = f"{name} is not set"
        # What cannot be read does not hide the rest: its default stands in, and nothing is said that names it.
        standing_in = {name: value for name, value in given.defaults().items() if name in broken} if broken else {}
        settings = cls(**{**values, **{name: _typed(fields[name], value) for name, value in standing_in.items()}})
        told += broken.values()
        told += [row for row in settings.problems() if not _names_one_of(broken, row)]
        told += [row for row in foresight.problems(settings, certain=bool(told)) if not _is_told(row, told)]
        if told:
            listed = "".join(f"\n  - {problem}" for problem in told)
            raise SettingsInvalid(
                f"stack {pulumi.get_stack()!r} has {len(told)} problem(s) in its settings:{listed}\n"
                "Set each with `pulumi config set accelform:<name> <value>`; Pulumi.yaml describes them."
            )
        return settings

    @property
    def in_cluster(self) -> bool:
        """Whether the service runs in a Kubernetes cluster, and not on an edge box."""
        return self.target == "kubernetes"

    @property
    def own_device_plugin(self) -> bool:
        """Whether the stack brings the device plugin of its pool."""
        return self.in_cluster and self.device_plugin == "emulated"

    @property
    def cluster_namespace(self) -> str:
        """The namespace of the service's objects: the one that was chosen, else one named after the target."""
        return self.namespace or f"accelform-{self.target_name}".lower()

    def problems(self) -> list[str]:
        """Everything that the resources would refuse one after the other, told at once."""
        found = {
            "workspace_name": names.WORKSPACE.problem(self.workspace_name),
            "location": regions.region_problem(self.location),
            "vm_size": regions.vm_size_problem(self.vm_size),
            "model_name": names.MODEL.problem(self.model_name),
            "image_name": names.IMAGE.problem(self.image_name),
            "target_name": names.COMPUTE.problem(self.target_name),
            "service_name": names.SERVICE.problem(self.service_name),
        }
        if self.target not in TARGETS:
            found["target"] = f"{self.target!r} is unknown; choose one of {', '.join(TARGETS)}"
        values = {name: value for name, value in vars(self).items() if value is not None}
        values["target_kind"] = self.target
        rows = [*scaling.positive(values, COUNTS), *scaling.problems(values), *serving.problems(values)]
        if self.in_cluster:
            if not 0 <= self.prestop_seconds <= LONGEST_PRESTOP_SECONDS:
                found["prestop_seconds"] = f"must be 0 to {LONGEST_PRESTOP_SECONDS}, not {self.prestop_seconds}"
            rows += [*cluster_images.problems(values), *pools.problems(values)]
            rows += traffic.problems(values)
            rows += pods.problems({**values, "namespace": self.cluster_namespace})
        return [f"{name}: {problem}" for name, problem in found.items() if problem] + [row.reason for row in rows]


def _typed(field: dataclasses.Field[Any], default: Any) -> Any:
    return parse(str(field.type), default if isinstance(default, str) else json.dumps(default))


def _names_one_of(names: Collection[str], sentence: str) -> bool:
    return not set(names).isdisjoint(re.findall(r"\w+", sentence))


def _is_told(sentence: str, told: Collection[str]) -> bool:
    return any(sentence in row or row in sentence for row in told)
