"""Image: the runtime and exactly one converted model, as an OCI image in the store, or in a registry for clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accelform.plans import names
from accelform.plans.contract import Planned, Problem, Property, ResourceContract, all_known
from accelform.plans.identity import fingerprint
from accelform.resources import common
from accelform.resources.base import AccelResource, Values, unknown_unless_known
from accelform.resources.image_registry import (
    IN_A_REGISTRY,
    base_image_problems,
    ca_file_of,
    registry_problems,
    remove_half_pushed,
)
from accelform.resources.versioned import CLAIM, Content, VersionedProvider, find_version

if TYPE_CHECKING:
    from pathlib import Path

    from pulumi import Input, Output, ResourceOptions

    from accelform.resources.converted_model import ConvertedModel
    from accelform.store import Store
    from accelform.store.manifest import Manifest

CONTRACT = ResourceContract(
    name="Image",
    summary="An OCI image: a runtime layer and a model layer with one converted model, in the store or in a registry.",
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
        Property(
            name="registry",
            kind="string",
            role="replace",
            description="host and path to push it to, such as `registry.example.com/team`; default: kept in the store",
        ),
        Property(
            name="base_image",
            kind="string",
            role="replace",
            description="image with Python that it stands on, by digest; needed with `registry`",
        ),
        Property(
            name="registry_ca_file",
            kind="string",
            role="update",
            description="PEM certificates of the registry's private authority, relative to Pulumi.yaml",
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
            name="creation_state",
            kind="string",
            role="output",
            description="Succeeded; what cannot be built is no image",
        ),
        Property(name="image_location", kind="string", role="output", description="the image by digest"),
        Property(name="image_digest", kind="string", role="output", description="digest of the OCI manifest"),
        Property(
            name="sbom_location",
            kind="string",
            role="output",
            description="its bill of materials (CycloneDX): by digest, or in the store; with `registry` only",
        ),
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

    def modules(self, values: Mapping[str, Any], *, offline: bool) -> tuple[str, ...]:
        if offline:
            return ("accelform.images.presence",) if values.get("base_image") else ("accelform.registry.reference",)
        return ("accelform.images.registry_image",) if values.get("registry") else ()

    def plan(self, inputs: Values, *, stored: Mapping[str, Any]) -> Planned:
        problems = common.property_problems(inputs, stored)
        if all_known(inputs, ("name",)) and (reason := names.IMAGE.problem(inputs["name"])):
            problems.append(Problem(property="name", reason=reason))
        problems.extend(registry_problems(inputs))
        if not problems:
            problems.extend(base_image_problems(inputs, stored))
        if unknown := unknown_unless_known(CONTRACT, inputs, ("name", "model_fingerprint", *IN_A_REGISTRY)):
            return Planned(computed=unknown.computed, problems=tuple(problems))
        from accelform.images import runtime_layer

        if not problems and all_known(inputs, ("storage_url",)):
            problems.extend(self.manifest_problems(inputs))
        base = runtime_layer.fingerprint()
        elsewhere = {name: inputs[name] for name in IN_A_REGISTRY if inputs.get(name)}
        identity = fingerprint(name=inputs["name"], model=inputs["model_fingerprint"], base=base, **elsewhere)
        return Planned(computed={"base": base, "fingerprint": identity}, problems=tuple(problems))

    def name_of(self, values: Values) -> str:
        return str(values["name"])

    def content(self, inputs: Values, *, name: str, version: int, folder: Path) -> Content:
        from accelform.conversion.deliver import BUNDLE_FILE, served_files
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
        make = self._in_registry if inputs.get("registry") else self._in_store
        return make(
            store,
            inputs,
            folder=folder,
            name=name,
            version=version,
            model=model,
            model_files={file: files[file] for file in served},
        )

    def _in_store(
        self,
        store: Store,
        inputs: Values,
        *,
        folder: Path,
        name: str,
        version: int,
        model: Manifest,
        model_files: Mapping[str, Path],
    ) -> Content:
        from accelform.images import oci, runtime_layer

        image = oci.build_image(
            store,
            name=name,
            version=version,
            model_files=model_files,
            runtime_layer=runtime_layer.build(store),
            labels={"accelform.model": f"{model.name}:{model.version}"},
        )
        recorded = {"image_digest": image.digest, "image_location": image.location}
        return Content(stored_files=image.files, properties=recorded)

    def _in_registry(
        self,
        store: Store,
        inputs: Values,
        *,
        folder: Path,
        name: str,
        version: int,
        model: Manifest,
        model_files: Mapping[str, Path],
    ) -> Content:
        from accelform.images import registry_image
        from accelform.images.model_files import layer_files

        layers = folder / ".layers"  # beside the model's own files, if those were downloaded there
        layers.mkdir()
        wanted = registry_image.Wanted(
            registry=inputs["registry"],
            base_image=inputs["base_image"],
            ca_file=ca_file_of(inputs),
            name=name,
            version=version,
            owner=inputs["owner"],
            model=f"{model.name}:{model.version}",
            model_digest=inputs["model_fingerprint"],
            model_files=layer_files(model_files, digests={file.name: file.sha256 for file in model.files}),
        )
        image = registry_image.publish(store, wanted, scratch=layers, progress=common.note)
        recorded = {
            "image_digest": image.digest,
            "image_location": image.location,
            "sbom_location": image.sbom_location,
        }
        return Content(stored_files=image.files, properties=recorded)

    def damage(self, store: Store, manifest: Manifest, values: Values) -> list[str]:
        found = super().damage(store, manifest, values)
        if found or not values.get("registry"):
            return found
        from accelform.images import registry_image

        return registry_image.missing(store, manifest.name, manifest.version, ca_file=ca_file_of(values))

    def tidy(self, store: Store, inputs: Values) -> None:
        """Takes back what a killed create of this resource pushed for another content than is wanted now."""
        if inputs.get("registry"):
            remove_half_pushed(store, owner_prefix=inputs["owner"], keep=inputs["fingerprint"], values=inputs)

    def unmake(self, store: Store, stored: Values) -> None:
        if not stored.get("registry"):
            return
        from accelform.images import registry_image

        place = registry_image.place_of(stored["image_location"], owner=stored["owner"])
        registry_image.withdraw(place, ca_file=ca_file_of(stored), progress=common.note)

    def outputs(self, url: str, manifest: Manifest) -> Values:
        return {
            **super().outputs(url, manifest),
            "creation_state": "Succeeded",
            "image_location": manifest.properties["image_location"],
            "image_digest": manifest.properties["image_digest"],
            **{key: manifest.properties[key] for key in ("sbom_location",) if key in manifest.properties},
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
    registry: Output[str]
    base_image: Output[str]
    sbom_location: Output[str]
    image_build_log_uri: Output[str]
    created_time: Output[str]

    def __init__(
        self,
        resource_name: str,
        *,
        name: Input[str],
        model: ConvertedModel,
        registry: Input[str] | None = None,
        base_image: Input[str] | None = None,
        registry_ca_file: Input[str] | None = None,
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
            "registry": registry,
            "base_image": base_image,
            "registry_ca_file": registry_ca_file,
            "tags": tags,
            "properties": properties,
            "description": description,
        }
        super().__init__(ImageProvider(), resource_name, inputs, opts)
