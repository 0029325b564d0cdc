"""What a web service accepts and gives, as data; named as Azure ML names it, where Azure ML has it."""

from __future__ import annotations

from dataclasses import replace

from accelform.plans.contract import Property, ResourceContract, declared
from accelform.resources import common, webservice_cluster_properties
from accelform_runtime.settings import Encryption, Keys, Rollout, Scaling, Service, Serving, names_of

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
        *declared(Scaling, Serving, Keys, Encryption, Rollout),
        *webservice_cluster_properties.ROWS,
        replace(common.TAGS, description="names and values, on an edge box in its record too; replaceable"),
        replace(common.PROPERTIES, description=f"{common.PROPERTIES.description}; kept in the stack's state alone"),
        replace(common.DESCRIPTION, description=f"{common.DESCRIPTION.description}; kept in the stack's state alone"),
        common.OWNER,
        *FORETOLD,
        *OUTPUTS,
    ),
)

SETTINGS = frozenset(names_of(Service))
"""The settings that a web service takes by name."""
