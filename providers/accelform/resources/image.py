"""Image: the runtime and exactly one converted model, as an OCI image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.plans.identity import fingerprint
from accelform.resources import common
from accelform.resources.base import AccelResource, Values, unknown_unless_known
from accelform.resources.versioned import CLAIM, Content, VersionedProvider, find_version

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.converted_model import ConvertedModel
    from accelform.store.manifest import Manifest

CONTRACT = ResourceContract(
    name="Image",
    summary="An OCI image: a runtime layer and a model layer with one converted model.",
    delete_before_replace=False,
    properties=(
        common.STORAGE_URL,
        Property(name="name", kind="string", role="replace", required=True, description="image name in lower case"),
        Property(
            name="model_fingerprint",
            kind="string",
            role="replace",
            required=True,
            description="identity of the converted model",
        ),
        Property(
            name="model_owner", kind="string", role="update", required=True, description="owner of the converted model"
        ),
        common.TAGS,
        common.PROPERTIES,
        common.DESCRIPTION,
        common.OWNER,
        Property(
            name="base",
            kind="string",
            role="replace",
            computed=True,
            description="fingerprint of the runtime in the base layer",
        ),
        Property(name="fingerprint", kind="string", role="replace", computed=True, description="identity of the image"),
        Property(name="version", kind="integer", role="output", description="counts up per name, never reused"),
        Property(
            name="creation_state", kind="string", role="output", description="Succeeded once the image can be deployed"
        ),
        Property(name="image_location", kind="string", role="output", description="the image by digest"),
        Property(name="image_digest", kind="string", role="output", description="digest of the OCI manifest"),
        Property(name="image_build_log_uri", kind="string", role="output", description="the build's log"),
        common.CREATED_TIME,
        CLAIM,
    ),
)


class ImageProvider(VersionedProvider):
    """Appends a model layer to the runtime layer, without a Docker daemon."""

    contract = CONTRACT
    kind = "images"
    identity = "fingerprint"
    fault_prefix = "image"

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems = common.property_problems(inputs, stored)
        if all_known(inputs, ("name",)) and (reason := names.IMAGE.problem(inputs["name"])):
            problems.append(Problem(property="name", reason=reason))
        if unknown := unknown_unless_known(CONTRACT, inputs, ("name", "model_fingerprint")):
            return Planned(computed=unknown.computed, problems=tuple(problems))
        from accelform.images import runtime_layer

        if not problems and all_known(inputs, ("storage_url",)):
            problems.extend(self.manifest_problems(inputs))
        base = runtime_layer.fingerprint()
        identity = fingerprint(name=inputs["name"], model=inputs["model_fingerprint"], base=base)
        return Planned(computed={"base": base, "fingerprint": identity}, problems=tuple(problems))

    def name_of(self, values: Values) -> str:
        return str(values["name"])

    def content(self, inputs: Values, *, name: str, version: int, folder: Path) -> Content:
        from accelform.conversion.deliver import BUNDLE_FILE, served_files
        from accelform.images import oci, runtime_layer
        from accelform.store import catalog

        store = common.open_store(inputs)
        model = find_version(
            store,
            kind="models",
            owner=inputs["model_owner"],
            digest=inputs["model_fingerprint"],
            what="converted model",
        )
        files = catalog.local_files(store, model, folder)
        served = served_files(files, files[BUNDLE_FILE].read_bytes())
        image = oci.build_image(
            store,
            name=name,
            version=version,
            model_files={file: files[file] for file in served},
            runtime_layer=runtime_layer.build(store),
            labels={"accelform.model": f"{model.name}:{model.version}"},
        )
        recorded = {"image_digest": image.digest, "image_location": image.location}
        return Content(stored_files=image.files, properties=recorded)

    def outputs(self, url: str, manifest: Manifest) -> Values:
        return {
            **super().outputs(url, manifest),
            "creation_state": "Succeeded",
            "image_location": manifest.properties["image_location"],
            "image_digest": manifest.properties["image_digest"],
            "image_build_log_uri": f"{url}/build.log",
        }


class Image(AccelResource, module="accel", name="Image"):
    """An image with one converted model, like Azure ML's `AccelContainerImage`."""

    contract = CONTRACT

    storage_url: Output[str]
    name: Output[str]
    owner: Output[str]
    fingerprint: Output[str]
    version: Output[int]
    creation_state: Output[str]
    image_location: Output[str]
    image_digest: Output[str]
    image_build_log_uri: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        model: ConvertedModel,
        tags: Input[Mapping[str, str]] | None = None,
        properties: Input[Mapping[str, str]] | None = None,
        description: Input[str] | None = None,
        opts: ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "storage_url": model.storage_url,
            "name": name,
            "model_fingerprint": model.fingerprint,
            "model_owner": model.owner,
            "tags": tags,
            "properties": properties,
            "description": description,
        }
        super().__init__(ImageProvider(), resource_name, inputs, opts)
