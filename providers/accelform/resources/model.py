"""Model: a network registered in the workspace under a name, with a version that counts up and is never reused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.errors import UserError
from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values, unknown_unless_known

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.workspace import Workspace
    from accelform.store.manifest import Manifest

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
            description="featurizer specification, relative to Pulumi.yaml; its content decides, not its place",
        ),
        common.TAGS,
        common.PROPERTIES,
        common.DESCRIPTION,
        common.OWNER,
        Property(name="digest", kind="string", role="replace", computed=True, description="sha256 of the content"),
        Property(name="framework", kind="string", role="replace", computed=True, description="what it was made with"),
        Property(name="family", kind="string", role="replace", computed=True, description="featurizer family"),
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
            name="labels", kind="list", role="replace", computed=True, description="class labels, in output order"
        ),
        Property(name="version", kind="integer", role="output", description="counts up per name, never reused"),
        Property(name="url", kind="string", role="output", description="where the version's files are"),
        common.CREATED_TIME,
        common.CLAIM,
    ),
)


class ModelProvider(AccelProvider):
    """Registers a model's files under the next version."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        if unknown := unknown_unless_known(CONTRACT, inputs, ("model_path",)):
            return unknown
        problems = common.property_problems(inputs, stored)
        if all_known(inputs, ("model_name",)) and (reason := names.MODEL.problem(inputs["model_name"])):
            problems.append(Problem(property="model_name", reason=reason))
        from accelform.featurizers.source import read_source

        try:
            source = read_source(project.resolve(inputs["model_path"]))
        except UserError as error:
            return Planned(computed={}, problems=(*problems, Problem(property="model_path", reason=str(error))))
        if all_known(inputs, ("storage_url", "model_name")):
            problems.extend(common.manifest_problems(inputs, kind="models", name=inputs["model_name"]))
        computed = {
            "digest": source.digest,
            "framework": source.framework,
            "family": source.family,
            "input_tensors": [tensor.name for tensor in source.input_tensors],
            "output_tensors": [tensor.name for tensor in source.output_tensors],
            "labels": list(source.labels),
        }
        return Planned(computed=computed, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        from accelform.featurizers.source import read_source

        source = read_source(project.resolve(inputs["model_path"]))
        common.require_unchanged(inputs["model_path"], expected=inputs["digest"], found=source.digest)
        manifest = common.publish_or_adopt(
            inputs,
            kind="models",
            name=inputs["model_name"],
            digest=inputs["digest"],
            fault_prefix="model",
            files=lambda version: {file.name: file.path for file in source.files},
        )
        return f"{manifest.name}:{manifest.version}", _outputs(inputs, manifest)

    def look(self, id_: str, values: Values) -> Values | None:
        manifest = common.read_version(values, kind="models", name=values["model_name"], version=values["version"])
        return None if manifest is None else {**values, **common.annotations_of(manifest)}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        manifest = common.annotate(inputs, kind="models", name=inputs["model_name"], version=stored["version"])
        return _outputs(inputs, manifest)

    def remove(self, id_: str, stored: Values) -> None:
        common.withdraw(stored, kind="models", name=stored["model_name"], version=stored["version"])


def _outputs(inputs: Values, manifest: Manifest) -> Values:
    url = common.open_store(inputs).url_of(f"models/{manifest.name}/{manifest.version}")
    return {
        "version": manifest.version,
        "url": url,
        "created_time": manifest.created_time,
        "claim": manifest.properties["claim"],
    }


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
    labels: Output[list[str]]
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
