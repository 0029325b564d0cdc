"""Workspace: the place in object storage where models, images and their version numbers live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from accelform import project
from accelform.errors import StoreCorrupt, StoreLocationError, UserError
from accelform.plans import names, regions
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

CONTRACT = ResourceContract(
    name="Workspace",
    summary="Object storage for models, images and their version numbers; several stacks may share one.",
    delete_before_replace=True,
    properties=(
        Property(name="name", kind="string", role="replace", required=True, description="workspace name"),
        Property(
            name="resource_group", kind="string", role="replace", required=True, description="Azure resource group"
        ),
        Property(
            name="subscription_id", kind="string", role="replace", required=True, description="Azure subscription"
        ),
        Property(
            name="location", kind="string", role="replace", required=True, description="region with FPGA machines"
        ),
        Property(
            name="storage_url",
            kind="string",
            role="replace",
            required=True,
            description="a folder (relative to Pulumi.yaml) or a file://, s3://, az:// or gs:// URL",
        ),
        common.TAGS_OF_STATE,
        common.OWNER,
        Property(
            name="workspace_id",
            kind="string",
            role="replace",
            computed=True,
            description="Azure resource id of the workspace",
        ),
        Property(
            name="models_url", kind="string", role="output", description="where registered and converted models are"
        ),
        Property(name="images_url", kind="string", role="output", description="where images are"),
        common.CREATED_TIME,
    ),
)


class WorkspaceProvider(AccelProvider):
    """Joins and leaves a store; the last stack to leave removes what is left of it."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems: list[Problem] = []
        if all_known(inputs, ("name", "location")):
            for key, problem in (
                ("name", names.WORKSPACE.problem(inputs["name"])),
                ("location", regions.region_problem(inputs["location"])),
            ):
                if problem:
                    problems.append(Problem(property=key, reason=problem))
        if all_known(inputs, ("storage_url",)) and (reason := _store_problem(inputs["storage_url"])):
            problems.append(Problem(property="storage_url", reason=reason))
        workspace_id = (
            f"/subscriptions/{inputs['subscription_id']}/resourceGroups/{inputs['resource_group']}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{inputs['name']}"
        )
        return Planned(computed={"workspace_id": workspace_id}, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        return inputs["workspace_id"], self.change(inputs["workspace_id"], {}, inputs)

    def look(self, id_: str, values: Values) -> Values | None:
        from accelform.store import workspace

        state = workspace.describe(common.open_store(values))
        return values if state is not None and values["owner"] in state.members else None

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        from accelform.store import workspace

        store = common.open_store(inputs)
        joined = workspace.join(
            store,
            workspace=workspace.WorkspaceDescription(
                name=inputs["name"],
                resource_group=inputs["resource_group"],
                subscription_id=inputs["subscription_id"],
                location=inputs["location"],
            ),
            owner=inputs["owner"],
        )
        if stored and stored["owner"] != inputs["owner"]:
            workspace.hand_over(store, owner=inputs["owner"], formerly=stored["owner"])
        return {
            "models_url": store.url_of("models"),
            "images_url": store.url_of("images"),
            "created_time": joined.created_time,
        }

    def remove(self, id_: str, stored: Values) -> None:
        from accelform.resources.image_registry import remove_half_pushed
        from accelform.store import workspace

        store = common.open_store(stored)
        remove_half_pushed(store, owner_prefix=stored["owner"].rpartition("/")[0] + "/", values={})
        workspace.leave(store, owner=stored["owner"])


def _store_problem(storage_url: str) -> str | None:
    """What keeps the store from being used: a damaged workspace manifest, or a path that is no folder."""
    if problem := project.url_problem(storage_url):
        return problem
    from accelform.store import workspace

    try:
        store = common.local_store(storage_url)
        if store is not None:
            workspace.describe(store)
    except (StoreCorrupt, StoreLocationError) as error:
        return str(error)
    return None


class Workspace(AccelResource, module="accel", name="Workspace"):
    """An Azure ML workspace as far as deploying to FPGAs needs one.

    >>> workspace = Workspace("workspace", name="accelform", resource_group="vision", location="eastus",
    ...                       storage_url=".accelform/store")  # doctest: +SKIP
    """

    contract = CONTRACT

    name: Output[str]
    location: Output[str]
    storage_url: Output[str]
    workspace_id: Output[str]
    models_url: Output[str]
    images_url: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        resource_group: Input[str],
        location: Input[str],
        storage_url: Input[str],
        subscription_id: Input[str] = "00000000-0000-0000-0000-000000000000",
        tags: Input[Mapping[str, str]] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "name": name,
            "resource_group": resource_group,
            "subscription_id": subscription_id,
            "location": location,
            "storage_url": storage_url,
            "tags": tags,
        }
        super().__init__(WorkspaceProvider(), resource_name, inputs, opts)

    @classmethod
    def from_config(
        cls,
        resource_name: str,
        *,
        location: Input[str],
        storage_url: Input[str],
        path: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> Workspace:
        """A workspace described by Azure ML's config.json, looked for in `path` (the current folder) and upward.

        Raises UserError where there is none, or where it lacks a field.
        """
        found = _find_config(Path(path) if path else Path.cwd())
        try:
            config = json.loads(found.read_text(encoding="utf-8"))
            return cls(
                resource_name,
                name=config["workspace_name"],
                resource_group=config["resource_group"],
                subscription_id=config["subscription_id"],
                location=location,
                storage_url=storage_url,
                opts=opts,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{found} is not a workspace configuration ({error}); it needs workspace_name, resource_group "
                "and subscription_id, as Azure's portal downloads it"
            ) from None


def _find_config(start: Path) -> Path:
    if start.is_file():
        return start
    for folder in (start.resolve(), *start.resolve().parents):
        for candidate in ("config.json", ".azureml/config.json", "aml_config/config.json"):
            if (folder / candidate).is_file():
                return folder / candidate
    raise UserError(f"no config.json in {start} or any folder above it; download it from the workspace's page")
