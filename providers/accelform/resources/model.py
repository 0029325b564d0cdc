"""Model: a network registered in the workspace under a name, with a version that counts up and is never reused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.errors import UserError
from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.resources import common
from accelform.resources.base import AccelResource, Values, unknown_unless_known
from accelform.resources.versioned import CLAIM, Content, VersionedProvider

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.workspace import Workspace
    from accelform.store.manifest import Manifest

ENTRY = "entry"
"""Recorded with a version: which of its files to read first; `.` for a model that is a folder."""

NAMES = "names"
"""Recorded with a version: what those of its files are called that the store keeps under keys of its own."""

CONTRACT = ResourceContract(
    name="Model",
    summary="A registered network; new content is a new version.",
    delete_before_replace=False,
    properties=(
        common.WORKSPACE_ID,
        common.STORAGE_URL,
        Property(name="model_name", kind="string", role="replace", required=True, description="name to register under"),
        Property(
            name="model_path",
            kind="string",
            role="update",
            required=True,
            description="model file or folder, relative to Pulumi.yaml; its content decides, not its place",
        ),
        common.TAGS,
        common.PROPERTIES,
        common.DESCRIPTION,
        common.OWNER,
        Property(name="digest", kind="string", role="replace", computed=True, description="sha256 of the content"),
        Property(name="framework", kind="string", role="replace", computed=True, description="what it was made with"),
        Property(
            name="family",
            kind="string",
            role="replace",
            computed=True,
            description="featurizer family it matches; empty where it matches none",
        ),
        Property(
            name="input_tensors", kind="list", role="replace", computed=True, description="names of the graph's inputs"
        ),
        Property(
            name="output_tensors",
            kind="list",
            role="replace",
            computed=True,
            description="names of the graph's outputs",
        ),
        Property(
            name="label_count", kind="integer", role="update", computed=True, description="how many class labels it has"
        ),
        Property(
            name="labels_digest",
            kind="string",
            role="update",
            computed=True,
            description="sha256 of the labels, one a line, in output order; the service tells them",
        ),
        Property(name="version", kind="integer", role="output", description="counts up per name, never reused"),
        Property(name="url", kind="string", role="output", description="where the version's files are"),
        common.CREATED_TIME,
        CLAIM,
    ),
)


class ModelProvider(VersionedProvider):
    """Registers a model's files under the next version."""

    contract = CONTRACT
    kind = "models"
    identity = "digest"
    fault_prefix = "model"

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        if unknown := unknown_unless_known(CONTRACT, inputs, ("model_path",)):
            return unknown
        problems = common.property_problems(inputs, stored)
        if all_known(inputs, ("model_name",)) and (reason := names.MODEL.problem(inputs["model_name"])):
            problems.append(Problem(property="model_name", reason=reason))
        from accelform.sources import read_source

        try:
            source = read_source(project.resolve(inputs["model_path"]), progress=common.note)
        except UserError as error:
            return Planned(computed={}, problems=(*problems, Problem(property="model_path", reason=str(error))))
        if all_known(inputs, ("storage_url", "model_name")):
            problems.extend(self.manifest_problems(inputs))
        computed = {
            "digest": source.digest,
            "framework": source.framework,
            "family": source.family or "",
            "input_tensors": [tensor.name for tensor in source.input_tensors],
            "output_tensors": [tensor.name for tensor in source.output_tensors],
            "label_count": len(source.labels),
            "labels_digest": _digest(source.labels),
        }
        return Planned(computed=computed, problems=tuple(problems))

    def name_of(self, values: Values) -> str:
        return str(values["model_name"])

    def content(self, inputs: Values, *, name: str, version: int, folder: Path) -> Content:
        from accelform.sources import read_source
        from accelform.store.keys import keys_for

        source = read_source(project.resolve(inputs["model_path"]), progress=common.note)
        if source.digest != inputs["digest"]:
            raise UserError(
                f"{inputs['model_path']} changed while it was being deployed ({inputs['digest']} is now "
                f"{source.digest}); run `pulumi up` again"
            )
        entry = "." if source.path.is_dir() else source.path.name
        keys = keys_for([file.name for file in source.files])
        renamed = {key: name for name, key in keys.items() if key != name}
        return Content(
            files={keys[file.name]: file.path for file in source.files},
            sha256s={keys[file.name]: file.sha256 for file in source.files},
            properties={ENTRY: entry, **({NAMES: renamed} if renamed else {})},
        )

    def outputs(self, url: str, manifest: Manifest) -> Values:
        return {**super().outputs(url, manifest), "url": url}


def _digest(labels: Sequence[str]) -> str:
    lines = "".join(f"{label}\n" for label in labels)
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}" if lines else ""


class Model(AccelResource, module="accel", name="Model"):
    """A model registered in `workspace`, like Azure ML's `Model.register`."""

    contract = CONTRACT

    storage_url: Output[str]
    workspace_id: Output[str]
    model_name: Output[str]
    model_path: Output[str]
    owner: Output[str]
    digest: Output[str]
    framework: Output[str]
    family: Output[str]
    input_tensors: Output[list[str]]
    output_tensors: Output[list[str]]
    label_count: Output[int]
    labels_digest: Output[str]
    version: Output[int]
    url: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        workspace: Workspace,
        model_name: Input[str],
        model_path: Input[str],
        tags: Input[Mapping[str, str]] | None = None,
        properties: Input[Mapping[str, str]] | None = None,
        description: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "workspace_id": workspace.workspace_id,
            "storage_url": workspace.storage_url,
            "model_name": model_name,
            "model_path": model_path,
            "tags": tags,
            "properties": properties,
            "description": description,
        }
        super().__init__(ModelProvider(), resource_name, inputs, opts)
