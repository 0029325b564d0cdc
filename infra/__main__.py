"""A network on an FPGA, declared: workspace, model, converted model, image, compute target, web service."""

from __future__ import annotations

import pulumi
from pulumi import ResourceOptions

from accelform.resources import ComputeTarget, ConvertedModel, Image, Model, Webservice, Workspace
from settings import Settings

settings = Settings.load(pulumi.Config())

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
image = Image("image", name=settings.image_name, model=converted_model)
target = ComputeTarget(
    "target",
    kind=settings.target,
    name=settings.target_name,
    vm_size=settings.vm_size,
    agent_count=settings.agent_count,
    location=settings.location,
    edge_root=settings.edge_root,
    # An image that cannot be built should not cost a machine; and the machine goes before the image does.
    opts=ResourceOptions(depends_on=[image]),
)
webservice = Webservice(
    "webservice",
    name=settings.service_name,
    image=image,
    target=target,
    num_replicas=settings.num_replicas,
    autoscale_enabled=settings.autoscale_enabled,
    port=settings.port,
    http_enabled=settings.http_enabled,
    http_port=settings.http_port,
    metrics_open=settings.metrics_open,
    auth_enabled=settings.auth_enabled,
    primary_key=settings.primary_key,
    secondary_key=settings.secondary_key,
    primary_key_generation=settings.primary_key_generation,
    secondary_key_generation=settings.secondary_key_generation,
    token_auth_enabled=settings.token_auth_enabled,
    token_key_generation=settings.token_key_generation,
    ssl_enabled=settings.ssl_enabled,
    ssl_cert_pem_file=settings.ssl_cert_pem_file or None,
    ssl_key_pem_file=settings.ssl_key_pem_file or None,
    ssl_cname=settings.ssl_cname or None,
    ssl_client_ca_pem_file=settings.ssl_client_ca_pem_file or None,
    engine=settings.engine,
    strict_model_spec=settings.strict_model_spec,
    model_root=settings.model_root or None,
    scoring_timeout_ms=settings.scoring_timeout_ms,
    max_request_wait_time_ms=settings.max_request_wait_time_ms,
    lame_duck_seconds=settings.lame_duck_seconds,
    drain_seconds=settings.drain_seconds,
    otlp_endpoint=settings.otlp_endpoint or None,
)

pulumi.export("scoring_uri", webservice.scoring_uri)
pulumi.export("http_uri", webservice.http_uri)
pulumi.export("ssl_certificate", webservice.ssl_certificate)
pulumi.export("ssl_cert_expires", webservice.ssl_cert_expires)
pulumi.export("service_name", webservice.name)
pulumi.export("model_version", model.version)
pulumi.export("labels", model.labels)
pulumi.export("converted_model_version", converted_model.version)
pulumi.export("image_location", image.image_location)
pulumi.export("predicted_latency_ms", converted_model.predicted_latency_ms)
pulumi.export("bitstream", converted_model.bitstream)
pulumi.export("report_url", converted_model.report_url)
pulumi.export("primary_key", webservice.primary_key)
pulumi.export("secondary_key", webservice.secondary_key)
pulumi.export("token_signing_key", webservice.token_signing_key)
