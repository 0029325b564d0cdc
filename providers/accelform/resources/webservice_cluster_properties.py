"""What a web service on a cluster accepts besides, as data: requests and limits, liveness, its address, its access.

None of these rows has a default: on an edge box they are absent, and on a cluster `check` fills in Azure ML's.
"""

from __future__ import annotations

from accelform.plans.contract import Property

_PLACE = (
    Property(name="namespace", kind="string", role="replace", description="namespace of its objects on a cluster"),
    Property(name="kubeconfig", kind="string", role="update", description="kubeconfig file of the target's cluster"),
    Property(name="kube_context", kind="string", role="update", description="context in it that names the cluster"),
    Property(
        name="pool_selector", kind="map", role="update", description="labels of the nodes that its pods may run on"
    ),
    Property(name="resource_name", kind="string", role="update", description="name under which nodes offer FPGAs"),
    Property(
        name="load_balancer_type",
        kind="string",
        role="update",
        description="PublicIp, InternalLoadBalancer, NodePort or ClusterIP; default the target's",
    ),
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

_RESOURCES = (
    Property(name="cpu_cores", kind="number", role="update", unit="cores", description="processor time of a replica"),
    Property(name="cpu_cores_limit", kind="number", role="update", unit="cores", description="most processor time"),
    Property(name="memory_gb", kind="number", role="update", unit="GB", description="memory of a replica"),
    Property(name="memory_gb_limit", kind="number", role="update", unit="GB", description="most memory"),
)

_LIVENESS = (
    Property(name="period_seconds", kind="integer", role="update", unit="s", description="time between health checks"),
    Property(
        name="initial_delay_seconds",
        kind="integer",
        role="update",
        unit="s",
        description="longest time to load the model; checks for life start once it is loaded",
    ),
    Property(
        name="timeout_seconds", kind="integer", role="update", unit="s", description="time that a health check may take"
    ),
    Property(
        name="success_threshold", kind="integer", role="update", description="checks in a row until a replica is ready"
    ),
    Property(
        name="failure_threshold",
        kind="integer",
        role="update",
        description="failed checks in a row until a replica is started again",
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

ROWS = (*_PLACE, *_RESOURCES, *_LIVENESS, *_ACCESS)

CLUSTER_ONLY = tuple(row.name for row in ROWS)
"""Names that mean nothing on an edge box."""
