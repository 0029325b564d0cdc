"""The stack's configuration as one frozen object, with everything wrong in it reported at once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import pulumi

from accelform.errors import UserError
from accelform.plans import names, regions, scaling, serving

COUNTS = ("agent_count", "scoring_timeout_ms", "max_request_wait_time_ms")


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
    lame_duck_seconds: int
    drain_seconds: int
    otlp_endpoint: str
    scoring_timeout_ms: int
    max_request_wait_time_ms: int
    num_replicas: int | None = None
    autoscale_enabled: bool | None = None
    auth_enabled: bool | None = None
    primary_key: pulumi.Output[str] | None = None
    secondary_key: pulumi.Output[str] | None = None

    @classmethod
    def load(cls, config: pulumi.Config) -> Self:
        """Reads every field from the stack's configuration.

        Raises SettingsInvalid naming each field that is missing or of the wrong type.
        """
        values: dict[str, Any] = {}
        problems: list[str] = []
        for field in dataclasses.fields(cls):
            if field.name.endswith("_key"):
                values[field.name] = config.get_secret(field.name)
                continue
            text = config.get(field.name)
            if text is None:
                if field.default is dataclasses.MISSING:
                    problems.append(f"{field.name} is not set")
                continue
            try:
                values[field.name] = _parse(str(field.type), text)
            except ValueError as error:
                problems.append(f"{field.name} must be {error}, not {text!r}")
        settings = cls(**values) if not problems else None
        problems += settings.problems() if settings else []
        if settings is None or problems:
            listed = "".join(f"\n  - {problem}" for problem in problems)
            raise SettingsInvalid(
                f"stack {pulumi.get_stack()!r} has {len(problems)} problem(s) in its settings:{listed}\n"
                "Set each with `pulumi config set accelform:<name> <value>`; Pulumi.yaml describes them."
            )
        return settings

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
        counts = {**vars(self), "target_kind": self.target}
        rows = [*scaling.positive(counts, COUNTS), *scaling.problems(counts), *serving.problems(counts)]
        return [f"{name}: {problem}" for name, problem in found.items() if problem] + [row.reason for row in rows]


def _parse(type_name: str, text: str) -> Any:
    """`text` from a stack file as the field's type; raises ValueError with the expected form."""
    if type_name.startswith("str"):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if type_name.startswith("int"):
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise ValueError("a whole number")
    if type_name.startswith("bool"):
        if isinstance(value, bool):
            return value
        raise ValueError("true or false")
    if type_name.startswith("list"):
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise ValueError("a list of strings")
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    raise ValueError("a map of strings")
