"""Where clients reach a service in a cluster, read from its Service object and the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from accelform.plans import serving
from accelform.targets.kubernetes.conditions import holds

Object = Mapping[str, Any]

GRPC: Final = "grpc"
HTTP: Final = "http"


@dataclass(frozen=True, kw_only=True)
class Address:
    """The URIs that clients are told (`http_uri` is "" without HTTP), and what to dial for gRPC.

    `is_outside`: it is meant to be reached from outside the cluster, though it may take a moment to be routed.
    """

    scoring_uri: str
    http_uri: str
    host: str
    port: int
    is_outside: bool


def address_of(service: Object, nodes: Sequence[Object], *, ssl_enabled: bool, ssl_cname: str) -> Address | str:
    """The service's address, or why it has none yet. `nodes` are only looked at for a NodePort.

    Clients of a service with TLS connect to the name that its certificate is for, whatever it resolves to.
    """
    spec = service["spec"]
    kind = spec.get("type") or "ClusterIP"
    ports = {str(row.get("name")): row for row in spec.get("ports") or ()}
    if GRPC not in ports:
        return f"the service has no port named {GRPC!r}"
    if kind == "LoadBalancer":
        host = _ingress(service)
        shown = host
        if not host:
            return "no load balancer has given it an address yet"
    elif kind == "NodePort":
        host = shown = _node(nodes)
        if not host:
            return "no node that is ready has an address"
    else:
        host = str(spec.get("clusterIP") or "")
        shown = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
        if not host or host == "None":
            return "the cluster has given it no address yet"
    key = "nodePort" if kind == "NodePort" else "port"
    if not ports[GRPC].get(key):
        return "the cluster has given it no node port yet"
    shown = ssl_cname or shown

    def uri(name: str) -> str:
        return serving.address(shown, int(ports[name][key]), ssl_enabled=ssl_enabled)

    http = uri(HTTP) if HTTP in ports else ""
    return Address(
        scoring_uri=uri(GRPC), http_uri=http, host=host, port=int(ports[GRPC][key]), is_outside=kind != "ClusterIP"
    )


def hint(service: Object) -> str:
    """What to do where the address does not come."""
    if service["spec"].get("type") == "LoadBalancer":
        return "a cluster without load balancers needs load_balancer_type NodePort or ClusterIP"
    return "see `kubectl describe service`"


def _ingress(service: Object) -> str:
    rows = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return next((str(row.get("ip") or row.get("hostname")) for row in rows if row.get("ip") or row.get("hostname")), "")


def _node(nodes: Sequence[Object]) -> str:
    """An address of the first node, by name, that is ready: one from outside the cluster before one from inside."""
    ready = [node for node in nodes if holds(node, "Ready")]
    found: dict[str, str] = {}
    for node in sorted(ready, key=lambda row: str(row["metadata"]["name"])):
        for row in (node.get("status") or {}).get("addresses") or ():
            found.setdefault(str(row.get("type")), str(row.get("address")))
    return found.get("ExternalIP") or found.get("InternalIP") or ""
