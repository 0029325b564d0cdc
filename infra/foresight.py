"""What the resources would refuse one after the other, told with the settings: a preview ends at the first resource
that is refused, and what depends on that one is not looked at.

Looks at files that the settings name and touches nothing. Reading a model takes time, so that is left to the model's
own resource, unless something is wrong anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.plans.contract import UNKNOWN, Problem
from accelform.resources import webservice_access
from accelform.resources.compute_target import ComputeTargetProvider
from accelform.resources.converted_model import ConvertedModelProvider
from accelform.resources.model import ModelProvider
from accelform.resources.workspace import WorkspaceProvider

if TYPE_CHECKING:
    from accelform.resources.base import AccelProvider
    from settings import Settings

_OWNER = "preview"


def problems(settings: Settings, *, certain: bool) -> list[str]:
    """Everything wrong with the files that the settings name; with `certain`, something is to be refused already."""
    files = webservice_access.plan_tls(_known(vars(settings)))[1]
    if not (certain or files or _is_wrong(settings)):
        return []
    found = [*_workspace(settings), *_model(settings), *_target(settings), *files]
    return list(dict.fromkeys(problem.reason for problem in found))


def _is_wrong(settings: Settings) -> bool:
    """Whether what is told in no time tells of a refusal."""
    from accelform_runtime.numerics.format import profile_names

    paths = [settings.model_path, *filter(None, [settings.calibration_images])]
    return (
        not all(project.resolve(path).exists() for path in paths)
        or settings.number_format not in profile_names()
        or project.url_problem(settings.storage_url) is not None
    )


def _workspace(settings: Settings) -> list[Problem]:
    return _planned(
        WorkspaceProvider(),
        name=settings.workspace_name,
        resource_group=settings.resource_group,
        subscription_id=settings.subscription_id,
        location=settings.location,
        storage_url=settings.storage_url,
    )[1]


def _model(settings: Settings) -> list[Problem]:
    seen, found = _planned(
        ModelProvider(),
        storage_url=UNKNOWN,
        workspace_id=UNKNOWN,
        model_name=settings.model_name,
        model_path=settings.model_path,
    )
    converted = _planned(
        ConvertedModelProvider(),
        storage_url=settings.storage_url,
        model_name=settings.model_name,
        model_digest=seen.get("digest", ""),
        model_path=settings.model_path,
        model_owner=_OWNER,
        model_input_tensors=seen.get("input_tensors", []),
        model_output_tensors=seen.get("output_tensors", []),
        input_tensors=settings.input_tensors if seen else [],
        output_tensors=settings.output_tensors if seen else [],
        require_fpga_conversion=settings.require_fpga_conversion,
        number_format=settings.number_format,
        calibration_images=settings.calibration_images or None,
    )[1]
    return [*found, *converted]


def _target(settings: Settings) -> list[Problem]:
    if settings.in_cluster:
        return []  # its settings are held to all rules already, and what the cluster says comes last
    return _planned(
        ComputeTargetProvider(),
        kind=settings.target,
        name=settings.target_name,
        vm_size=settings.vm_size,
        agent_count=settings.agent_count,
        location=settings.location,
        edge_root=settings.edge_root,
    )[1]


def _planned(provider: AccelProvider, **inputs: Any) -> tuple[Mapping[str, Any], list[Problem]]:
    """What a resource with these inputs would compute and refuse."""
    values, found = provider.contract.normalise({"owner": _OWNER, **_known(inputs)})
    if found:
        return {}, found
    planned = provider.plan(values, stored={})
    return planned.computed, list(planned.problems)


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
