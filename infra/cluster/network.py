"""How calls reach the pods and what the pods may reach: Service and NetworkPolicy."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from accelform.plans import cluster_names as words
from accelform.plans import pods
from cluster.naming import SKIP_AWAIT, Manifest, service_labels, service_metadata
from settings import Settings

INTERNAL_LOAD_BALANCER = {
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "networking.gke.io/load-balancer-type": "Internal",
}
"""Each cloud's own word for a load balancer without a public address; a cloud ignores the others' words."""
SUBNET = "service.beta.kubernetes.io/azure-load-balancer-internal-subnet"
_TYPES = {
    pods.PUBLIC: "LoadBalancer",
    pods.INTERNAL: "LoadBalancer",
    pods.NODE_PORT: "NodePort",
    pods.CLUSTER_IP: "ClusterIP",
}


def service(settings: Settings, *, owner: str) -> Manifest:
    """The service's address; its ports are the stack's, the pods' ports are fixed."""
    internal = INTERNAL_LOAD_BALANCER if settings.load_balancer_type == pods.INTERNAL else {}
    subnet = {SUBNET: settings.load_balancer_subnet} if settings.load_balancer_subnet else {}
    ports = [_port("grpc", settings.port)]
    if settings.http_enabled:
        ports.append(_port("http", settings.http_port))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": service_metadata(
            settings, owner=owner, annotations={**SKIP_AWAIT, **internal, **subnet, **settings.service_annotations}
        ),
        "spec": {
            "type": _TYPES[settings.load_balancer_type],
            "selector": service_labels(settings),
            "ports": ports,
        },
    }


def network_policy(settings: Settings, *, owner: str) -> Manifest:
    """Calls come in on the service's ports; nothing goes out but traces, where they are on, and the names they need."""
    ports = [words.GRPC_PORT, *([words.HTTP_PORT] if settings.http_enabled else [])]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": service_metadata(settings, owner=owner),
        "spec": {
            "podSelector": {"matchLabels": service_labels(settings)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"protocol": "TCP", "port": port} for port in ports]}],
            "egress": _egress(settings.otlp_endpoint),
        },
    }


def _egress(otlp_endpoint: str) -> list[Manifest]:
    if not otlp_endpoint:
        return []
    parts = urlsplit(otlp_endpoint)
    ports = [{"protocol": "TCP", "port": parts.port}]
    try:
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        # A policy knows no names: the port is open to any address, and so is DNS.
        names = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
        return [{"ports": ports}, names]
    return [{"ports": ports, "to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}]}]


def _port(name: str, port: int) -> Manifest:
    return {"name": name, "port": port, "targetPort": name, "protocol": "TCP"}
