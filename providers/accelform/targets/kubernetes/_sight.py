"""One look at a service in a cluster: its objects as the API server has them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from accelform.errors import ClusterDenied
from accelform.plans.cluster_names import OWNER_ANNOTATION
from accelform.targets.kubernetes import rollout
from accelform.targets.kubernetes._conditions import holds
from accelform.targets.kubernetes.address import Address, address_of, hint, told_host
from accelform.targets.kubernetes.kinds import DEPLOYMENTS, EVENTS, NODES, PODS, REPLICA_SETS, SERVICES
from accelform.targets.kubernetes.pod_errors import Object
from accelform.targets.kubernetes.rollout import Rollout

if TYPE_CHECKING:
    from accelform.targets.kubernetes.client import Cluster


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The service that is waited for. `keys` and `token_signing_key` are what calls must be taken with; `certificate`
    is the chain that it has to show, `client_certificate` what it is shown, both PEM. `replicas` is None with an
    autoscaler; `last_uris` are where clients were told to call, by port name."""

    name: str
    namespace: str
    owner: str
    image_location: str = ""
    resource_name: str = ""
    pool: str = ""
    pool_selector: Mapping[str, str] = field(default_factory=dict)
    ssl_enabled: bool = False
    ssl_cname: str = ""
    certificate: bytes = b""
    client_certificate: bytes = field(default=b"", repr=False)
    keys: tuple[str, ...] = field(default=(), repr=False)
    token_signing_key: str = field(default="", repr=False)
    access_changed: bool = False
    replicas: int | None = None
    last_uris: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"service {self.name!r} in namespace {self.namespace!r}"


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What one look found; `owner` and `image` are those of the Deployment, and `surge` how many pods more than wished
    it may have while they change."""

    owner: str
    image: str
    rollout: Rollout
    surge: int
    pods: tuple[Object, ...]
    events: tuple[Object, ...]


def look(cluster: Cluster, wish: Wish) -> Sight | None:
    """The service's Deployment and pods; None where there is no Deployment. Raises what `Cluster` raises."""
    deployment = cluster.get(DEPLOYMENTS, wish.name, namespace=wish.namespace)
    if deployment is None:
        return None
    labels = deployment["spec"]["selector"].get("matchLabels") or {}
    selector = selector_of(labels)
    sets = cluster.list(REPLICA_SETS, namespace=wish.namespace, label_selector=selector)
    pods = cluster.list(PODS, namespace=wish.namespace, label_selector=selector)

    def read(events: tuple[Object, ...]) -> Rollout:
        return rollout.read(deployment, sets, pods, events, resource_name=wish.resource_name, pool=wish.pool)

    events: tuple[Object, ...] = ()
    seen = read(events)
    if not seen.is_done:
        events = _events(cluster, wish)
        seen = read(events)
    return Sight(
        owner=str((deployment["metadata"].get("annotations") or {}).get(OWNER_ANNOTATION) or ""),
        image=rollout.image_of(deployment),
        rollout=seen,
        surge=rollout.surge_of(deployment),
        pods=tuple(pods),
        events=events,
    )


def find_address(cluster: Cluster, wish: Wish, pods: tuple[Object, ...]) -> Address | str:
    """Where the service is, or why that cannot be told yet, with what to do."""
    service = cluster.get(SERVICES, wish.name, namespace=wish.namespace)
    if service is None:
        return "its Service object is gone; `pulumi up --refresh` makes it again"
    nodes = _nodes(cluster, wish, pods) if service["spec"].get("type") == "NodePort" else []
    found = address_of(
        service,
        nodes,
        ssl_enabled=wish.ssl_enabled,
        ssl_cname=wish.ssl_cname,
        preferred=(told_host(wish.last_uris), *_addresses_with_pods(pods)),
    )
    return found if isinstance(found, Address) else f"{found}; {hint(service)}"


def selector_of(labels: Mapping[str, str]) -> str:
    """Labels as a selector of the API."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def _addresses_with_pods(pods: tuple[Object, ...]) -> list[str]:
    """Addresses of the nodes on which pods serve: a pool that shrinks keeps these."""
    return [str((pod.get("status") or {}).get("hostIP") or "") for pod in pods if holds(pod, "Ready")]


def _events(cluster: Cluster, wish: Wish) -> tuple[Object, ...]:
    try:
        return tuple(cluster.list(EVENTS, namespace=wish.namespace, field_selector="type=Warning"))
    except ClusterDenied:  # they only explain
        return ()


def _nodes(cluster: Cluster, wish: Wish, pods: tuple[Object, ...]) -> list[dict[str, Any]]:
    try:
        return cluster.list(NODES, label_selector=selector_of(wish.pool_selector))
    except ClusterDenied:  # who may not see nodes can see where the pods are
        addresses = {str((pod.get("status") or {}).get("hostIP") or "") for pod in pods}
        ready = [{"type": "Ready", "status": "True"}]
        return [
            {
                "metadata": {"name": address},
                "status": {"conditions": ready, "addresses": [{"type": "InternalIP", "address": address}]},
            }
            for address in filter(None, addresses)
        ]
