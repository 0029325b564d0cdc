"""Image: the runtime and exactly one converted model, as an OCI image."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.plans.identity import fingerprint
from accelform.resources import common
from accelform.resources.base import AccelProvider, AccelResource, Values, unknown_unless_known

if TYPE_CHECKING:
    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.converted_model import ConvertedModel
    from accelform.store.manifest import FileRecord, Manifest

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
        common.CLAIM,
    ),
)


class ImageProvider(AccelProvider):
    """Appends a model layer to the runtime layer, without a Docker daemon."""

    contract = CONTRACT

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems = common.property_problems(inputs, stored)
        if all_known(inputs, ("name",)) and (reason := names.IMAGE.problem(inputs["name"])):
            problems.append(Problem(property="name", reason=reason))
        if unknown := unknown_unless_known(CONTRACT, inputs, ("name", "model_fingerprint")):
            return Planned(computed=unknown.computed, problems=tuple(problems))
        from accelform.images import runtime_layer

        if not problems and all_known(inputs, ("storage_url",)):
            problems.extend(common.manifest_problems(inputs, kind="images", name=inputs["name"]))
        base = runtime_layer.fingerprint()
        identity = fingerprint(name=inputs["name"], model=inputs["model_fingerprint"], base=base)
        return Planned(computed={"base": base, "fingerprint": identity}, problems=tuple(problems))

    def make(self, inputs: Values) -> tuple[str, Values]:
        from accelform.images import oci, runtime_layer
        from accelform.store import catalog

        store = common.open_store(inputs)
        model = common.find_version(
            store,
            kind="models",
            owner=inputs["model_owner"],
            digest=inputs["model_fingerprint"],
            what="converted model",
        )

        def build(version: int) -> tuple[tuple[FileRecord, ...], Mapping[str, Any]]:
            with tempfile.TemporaryDirectory(prefix="accelform-image-") as folder:
                image = oci.build_image(
                    store,
                    name=inputs["name"],
                    version=version,
                    model_files=catalog.local_files(store, model, Path(folder)),
                    runtime_layer=runtime_layer.build(store),
                    labels={"accelform.model": f"{model.name}:{model.version}"},
                )
            return image.files, {"image_digest": image.digest, "image_location": image.location}

        manifest = common.publish_or_adopt(
            inputs, kind="images", name=inputs["name"], digest=inputs["fingerprint"], fault_prefix="image", build=build
        )
        return f"{manifest.name}:{manifest.version}", _outputs(inputs, manifest)

    def look(self, id_: str, values: Values) -> Values | None:
        manifest = common.read_version(values, kind="images", name=values["name"], version=values["version"])
        return None if manifest is None else {**values, **common.annotations_of(manifest)}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        manifest = common.annotate(inputs, kind="images", name=inputs["name"], version=stored["version"])
        return _outputs(inputs, manifest)

    def remove(self, id_: str, stored: Values) -> None:
        common.withdraw(stored, kind="images", name=stored["name"], version=stored["version"])


def _outputs(inputs: Values, manifest: Manifest) -> Values:
    url = common.open_store(inputs).url_of(f"images/{manifest.name}/{manifest.version}")
    return {
        "version": manifest.version,
        "creation_state": "Succeeded",
        "image_location": manifest.properties["image_location"],
        "image_digest": manifest.properties["image_digest"],
        "image_build_log_uri": f"{url}/build.log",
        "created_time": manifest.created_time,
        "claim": manifest.properties["claim"],
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
