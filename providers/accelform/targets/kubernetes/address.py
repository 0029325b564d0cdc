"""Where clients reach a service in a cluster, read from its Service object and the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from accelform.plans import serving
from accelform.targets.kubernetes._conditions import holds
from accelform.targets.kubernetes.nodes import natural

Object = Mapping[str, Any]

GRPC: Final = "grpc"
HTTP: Final = "http"
_OUTSIDE, _INSIDE = "ExternalIP", "InternalIP"


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


def address_of(
    service: Object, nodes: Sequence[Object], *, ssl_enabled: bool, ssl_cname: str, preferred: Sequence[str] = ()
) -> Address | str:
    """The service's address, or why it has none yet. `nodes` are only looked at for a NodePort: of those that are ready
    the first one that has one of the `preferred` addresses is taken, or else the first one by name.

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
        host = shown = _node(nodes, preferred)
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


def told_host(uris: Mapping[str, str]) -> str:
    """The host in the URI that clients were told for gRPC; empty where they were told none."""
    return urlsplit(uris.get(GRPC) or "").hostname or ""


def told_ports(uris: Mapping[str, str]) -> dict[str, int]:
    """The ports in the URIs that clients were told, by the name of the service's port; usual ones are left out."""
    ports = {name: urlsplit(uri).port for name, uri in uris.items() if uri}
    return {name: port for name, port in ports.items() if port}


def _node(nodes: Sequence[Object], preferred: Sequence[str]) -> str:
    """An address of a node that is ready: one from outside the cluster before one from inside."""
    ready = sorted((node for node in nodes if holds(node, "Ready")), key=lambda row: natural(row["metadata"]["name"]))
    found = [addresses for node in ready if (addresses := _addresses(node))]
    outside = [row for row in found if _OUTSIDE in row] or found
    chosen = next((row for wanted in preferred for row in outside if wanted in row.values()), None)
    chosen = chosen or next(iter(outside), {})
    return chosen.get(_OUTSIDE) or chosen.get(_INSIDE) or ""


def _addresses(node: Object) -> dict[str, str]:
    """A node's first address of each kind that can be dialled."""
    found: dict[str, str] = {}
    for row in (node.get("status") or {}).get("addresses") or ():
        if row.get("type") in (_OUTSIDE, _INSIDE):
            found.setdefault(str(row["type"]), str(row.get("address")))
    return found
