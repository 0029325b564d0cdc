"""What a web service on a cluster accepts besides, as data: requests and limits, liveness, its address, its access.

None of these rows has a default: on an edge box they are absent, and on a cluster `check` fills in Azure ML's.
"""

from __future__ import annotations

from accelform.plans.contract import Property, declared
from accelform_runtime.settings import Address, Pods

_PLACE = (
    Property(name="namespace", kind="string", role="replace", description="namespace of its objects on a cluster"),
    Property(name="kubeconfig", kind="string", role="update", description="kubeconfig file of the target's cluster"),
    Property(name="kube_context", kind="string", role="update", description="context in it that names the cluster"),
    Property(
        name="pool_selector", kind="map", role="update", description="labels of the nodes that its pods may run on"
    ),
    Property(name="resource_name", kind="string", role="update", description="name under which nodes offer FPGAs"),
    Property(
        name="objects_digest",
        kind="string",
        role="update",
        description="identity of its objects in the cluster: another one is waited for",
    ),
    Property(
        name="pods_digest",
        kind="string",
        role="update",
        description="identity of its pods: another one means that all are replaced",
    ),
)

_ACCESS = (
    Property(name="access_keys", kind="map", role="update", secret=True, description="keys of its ServiceAccess"),
    Property(
        name="access_token_signing_key",
        kind="string",
        role="update",
        secret=True,
        description="private key that its ServiceAccess signs tokens with, PEM",
    ),
    Property(
        name="access_token_public_keys",
        kind="list",
        role="update",
        description="public keys whose tokens are valid, PEM, the newest first",
    ),
    Property(
        name="access_probe_file",
        kind="string",
        role="update",
        secret=True,
        description="client certificate and key for health calls, PEM, where clients need one",
    ),
    Property(
        name="access_certificate", kind="string", role="update", description="certificate and chain that it shows, PEM"
    ),
)

ROWS = (*_PLACE, *declared(Address, Pods), *_ACCESS)

CLUSTER_ONLY = tuple(row.name for row in ROWS)
"""Names that mean nothing on an edge box."""
