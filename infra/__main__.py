"""A network on an FPGA, declared: workspace, model, converted model, image, compute target, web service."""

from __future__ import annotations

import pulumi

import inputs
from accelform import project
from accelform.resources import ComputeTarget, ConvertedModel, Image, Model, Webservice, Workspace
from base_image import base_image
from in_cluster import TARGET, InCluster
from settings import Settings

settings = Settings.load(pulumi.Config())
in_cluster = InCluster(settings)

workspace = Workspace(
    "workspace",
    name=settings.workspace_name,
    resource_group=settings.resource_group,
    subscription_id=settings.subscription_id,
    location=settings.location,
    storage_url=settings.storage_url,
)
model = Model(
    "model",
    workspace=workspace,
    model_name=settings.model_name,
    model_path=settings.model_path,
    tags=settings.model_tags,
)
converted_model = ConvertedModel(
    "converted-model",
    model=model,
    input_tensors=settings.input_tensors,
    output_tensors=settings.output_tensors,
    require_fpga_conversion=settings.require_fpga_conversion,
    number_format=settings.number_format,
    calibration_images=settings.calibration_images,
)
runtime = base_image(settings)
image = Image("image", name=settings.image_name, model=converted_model, **inputs.for_image(settings, runtime))
target = ComputeTarget(
    TARGET,
    kind=settings.target,
    name=settings.target_name,
    vm_size=settings.vm_size,
    agent_count=settings.agent_count,
    location=settings.location,
    **inputs.for_target(settings),
    # An image that cannot be built should not cost a machine; and the machine goes before the image does.
    **in_cluster.pool(image, runtime),
)
webservice = Webservice(
    "webservice",
    name=settings.service_name,
    image=image,
    target=target,
    **inputs.for_webservice(settings),
    **in_cluster.service("webservice", image=image, target=target),
)


def in_store(address: str) -> str:
    """An address in the store as it is now: a folder may have been moved since the address was written."""
    return project.in_store(address, settings.storage_url) if address else address


pulumi.export("scoring_uri", webservice.scoring_uri)
pulumi.export("http_uri", webservice.http_uri)
pulumi.export("ssl_certificate", webservice.ssl_certificate)
pulumi.export("ssl_cert_expires", webservice.ssl_cert_expires)
pulumi.export("service_name", webservice.name)
pulumi.export("model_version", model.version)
pulumi.export("label_count", model.label_count)
pulumi.export("converted_model_version", converted_model.version)
pulumi.export("image_location", image.image_location.apply(in_store))
pulumi.export("predicted_latency_ms", converted_model.predicted_latency_ms)
pulumi.export("fpga_share", converted_model.fpga_share)
pulumi.export("client_hint", target.client_hint)
pulumi.export("bitstream", converted_model.bitstream)
pulumi.export("report_url", converted_model.report_url.apply(in_store))
pulumi.export("primary_key", webservice.primary_key)
pulumi.export("secondary_key", webservice.secondary_key)
pulumi.export("token_signing_key", webservice.token_signing_key)
