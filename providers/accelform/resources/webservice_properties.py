"""What a web service accepts and gives, as data; named as Azure ML names it, where Azure ML has it."""

from __future__ import annotations

from dataclasses import replace

from accelform.plans.contract import Property, ResourceContract
from accelform.resources import common, webservice_cluster_properties

_WHERE = (
    Property(name="name", kind="string", role="replace", required=True, description="service name"),
    Property(
        name="target_kind", kind="string", role="replace", required=True, description="kind of the compute target"
    ),
    Property(
        name="target_name", kind="string", role="replace", required=True, description="name of the compute target"
    ),
    Property(
        name="target_fpgas", kind="integer", role="update", required=True, description="FPGAs of the compute target"
    ),
    Property(
        name="target_claims",
        kind="list",
        role="update",
        default=[],
        description="services of the same program that already hold an FPGA of the target, one entry each",
    ),
    Property(name="edge_root", kind="string", role="replace", description="folder of the edge boxes"),
    common.STORAGE_URL,
    Property(name="image_name", kind="string", role="update", required=True, description="name of the image"),
    Property(
        name="image_fingerprint", kind="string", role="update", required=True, description="identity of the image"
    ),
    Property(name="image_owner", kind="string", role="update", required=True, description="owner of the image"),
)

_REPLICAS = (
    Property(name="num_replicas", kind="integer", role="update", description="replicas, one FPGA each; default 1"),
    Property(
        name="autoscale_enabled", kind="boolean", role="update", description="scale by load; excludes num_replicas"
    ),
    Property(name="autoscale_min_replicas", kind="integer", role="update", description="fewest replicas"),
    Property(name="autoscale_max_replicas", kind="integer", role="update", description="most replicas"),
    Property(
        name="autoscale_refresh_seconds", kind="integer", role="update", unit="s", description="time between looks"
    ),
    Property(
        name="autoscale_target_utilization", kind="integer", role="update", unit="%", description="load to aim at"
    ),
)

_LISTENING = (
    Property(
        name="port",
        kind="integer",
        role="update",
        default=50051,
        description="TCP port of gRPC: on the edge box, or of the service in a cluster",
    ),
    Property(
        name="http_enabled",
        kind="boolean",
        role="update",
        default=False,
        description="whether health, metrics, model status and JSON predictions are also there over HTTP",
    ),
    Property(name="http_port", kind="integer", role="update", default=8501, description="TCP port of HTTP"),
    Property(
        name="metrics_open", kind="boolean", role="update", default=False, description="metrics over HTTP need no key"
    ),
)

ACCESS = (
    Property(
        name="auth_enabled",
        kind="boolean",
        role="update",
        description="whether calls need a key; default true, with token_auth_enabled false",
    ),
    Property(
        name="primary_key",
        kind="string",
        role="update",
        secret=True,
        description="first key; generated when left out",
    ),
    Property(
        name="secondary_key",
        kind="string",
        role="update",
        secret=True,
        description="second key; generated when left out",
    ),
    Property(
        name="primary_key_generation",
        kind="integer",
        role="update",
        default=1,
        description="another number generates another first key; the second stays valid",
    ),
    Property(
        name="secondary_key_generation",
        kind="integer",
        role="update",
        default=1,
        description="another number generates another second key; the first stays valid",
    ),
    Property(
        name="token_auth_enabled",
        kind="boolean",
        role="update",
        default=False,
        description="whether calls need a signed token that expires; excludes auth_enabled",
    ),
    Property(
        name="token_key_generation",
        kind="integer",
        role="update",
        default=1,
        description="the next number generates another signing key, and tokens of the last one stay valid; "
        "any other number ends them",
    ),
)

ENCRYPTION = (
    Property(
        name="ssl_enabled",
        kind="boolean",
        role="update",
        default=False,
        description="whether calls are encrypted (TLS 1.2 or newer), over gRPC and HTTP",
    ),
    Property(
        name="ssl_cert_pem_file",
        kind="string",
        role="update",
        description="file with the certificate and its chain, where `pulumi` runs",
    ),
    Property(
        name="ssl_key_pem_file",
        kind="string",
        role="update",
        description="file with the certificate's private key, where `pulumi` runs; its content is in no state",
    ),
    Property(
        name="ssl_cname",
        kind="string",
        role="update",
        description="name that clients use and the certificate is for; default 127.0.0.1",
    ),
    Property(
        name="ssl_client_ca_pem_file",
        kind="string",
        role="update",
        description="file with the authorities whose client certificates are accepted; clients then need one",
    ),
)

_SERVING = (
    Property(
        name="engine",
        kind="string",
        role="update",
        default="auto",
        description="what computes the model: onnxruntime, native, or auto: native wherever it can",
    ),
    Property(
        name="strict_model_spec",
        kind="boolean",
        role="update",
        default=False,
        description="whether calls must name the model, as TensorFlow Serving wants it",
    ),
    Property(
        name="model_root",
        kind="string",
        role="update",
        description="folder of the models that HandleReloadConfigRequest may put onto the FPGA; without it none",
    ),
    Property(
        name="scoring_timeout_ms",
        kind="integer",
        role="update",
        default=60000,
        unit="ms",
        description="longest time one call may take",
    ),
    Property(
        name="max_request_wait_time_ms",
        kind="integer",
        role="update",
        default=500,
        unit="ms",
        description="longest time a call may wait for the FPGA",
    ),
    Property(
        name="replica_max_concurrent_requests",
        kind="integer",
        role="update",
        default=16,
        description="calls a replica holds at once, running and waiting",
    ),
    Property(
        name="lame_duck_seconds",
        kind="integer",
        role="update",
        default=0,
        unit="s",
        description="time after a stop in which calls are still taken while health says NOT_SERVING",
    ),
    Property(
        name="drain_seconds",
        kind="integer",
        role="update",
        default=5,
        unit="s",
        description="time that accepted calls then get to finish",
    ),
    Property(
        name="otlp_endpoint",
        kind="string",
        role="update",
        description="http://HOST:PORT or https://HOST:PORT of an OpenTelemetry collector; without it no traces",
    ),
    Property(
        name="deployment_timeout_seconds",
        kind="integer",
        role="update",
        default=120,
        unit="s",
        description="longest time to wait for SERVING",
    ),
)

FORETOLD = (
    Property(
        name="scoring_uri",
        kind="string",
        role="update",
        computed=True,
        description="where clients connect, without a path",
    ),
    Property(
        name="http_uri",
        kind="string",
        role="update",
        computed=True,
        description="where HTTP answers; empty where it is off",
    ),
    Property(
        name="ssl_cert_digest",
        kind="string",
        role="update",
        computed=True,
        description="identity of the certificate file, so that a renewed one is an update; empty without TLS",
    ),
    Property(
        name="ssl_cert_expires",
        kind="string",
        role="update",
        computed=True,
        description="RFC 3339 time at which the certificate ends; empty without TLS",
    ),
    Property(
        name="ssl_client_ca_digest",
        kind="string",
        role="update",
        computed=True,
        description="identity of the file of client authorities; empty without one",
    ),
    Property(
        name="state",
        kind="string",
        role="update",
        computed=True,
        description="Healthy, or what a refresh found instead",
    ),
)

OUTPUTS = (
    Property(name="image_digest", kind="string", role="output", description="digest of the running image"),
    Property(name="service_keys", kind="map", role="output", secret=True, description="primary and secondary key"),
    Property(
        name="token_signing_key",
        kind="string",
        role="output",
        secret=True,
        description="private key that tokens are signed with, PEM; empty without token_auth_enabled",
    ),
    Property(
        name="token_public_keys",
        kind="list",
        role="output",
        description="public keys whose tokens are valid, PEM, the newest first",
    ),
    Property(
        name="ssl_certificate",
        kind="string",
        role="output",
        description="the deployed certificate and its chain, PEM; empty without TLS",
    ),
    common.CREATED_TIME,
)

CONTRACT = ResourceContract(
    name="Webservice",
    summary="A service that scores images on an FPGA; it exists once it answers SERVING. On a cluster it waits for a "
    "Deployment and makes none: what its replicas, resources, checks and address say is carried out by the stack "
    "program's infra/cluster, or by a program of one's own.",
    delete_before_replace=True,
    properties=(
        *_WHERE,
        *_REPLICAS,
        *_LISTENING,
        *ACCESS,
        *ENCRYPTION,
        *_SERVING,
        *webservice_cluster_properties.ROWS,
        replace(common.TAGS, description="names and values, on an edge box in its record too; replaceable"),
        replace(common.PROPERTIES, description=f"{common.PROPERTIES.description}; kept in the stack's state alone"),
        replace(common.DESCRIPTION, description=f"{common.DESCRIPTION.description}; kept in the stack's state alone"),
        common.OWNER,
        *FORETOLD,
        *OUTPUTS,
    ),
)
