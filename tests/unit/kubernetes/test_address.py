"""Where clients find a service, from its Service object; the fields are the API's (core/v1 Service, Node)."""

from __future__ import annotations

from typing import Any

import pytest

from accelform.targets.kubernetes.address import Address, address_of, told_host, told_ports


def service(kind: str, *, port: int = 443, ingress: dict[str, str] | None = None, http: bool = False) -> dict[str, Any]:
    ports = [{"name": "grpc", "port": port, "targetPort": 50051, "nodePort": 30443}]
    ports += [{"name": "http", "port": 8501, "targetPort": 8501, "nodePort": 30501}] if http else []
    return {
        "metadata": {"name": "digits", "namespace": "vision"},
        "spec": {"type": kind, "clusterIP": "10.96.0.7", "ports": ports},
        "status": {"loadBalancer": {"ingress": [ingress]} if ingress else {}},
    }


def node(name: str, *, ready: bool = True, **addresses: str) -> dict[str, Any]:
    rows = [{"type": kind, "address": address} for kind, address in addresses.items()]
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "status": {"addresses": rows, "conditions": conditions}}


NODES = [
    node("b", InternalIP="10.0.0.2", Hostname="b"),
    node("a", ready=False, InternalIP="10.0.0.1"),
    node("c", InternalIP="10.0.0.3"),
]


@pytest.mark.parametrize(
    ("given", "tls", "expected"),
    [
        (service("LoadBalancer", ingress={"ip": "20.0.0.1"}), "a.example", "https://a.example"),
        (service("LoadBalancer", port=80, ingress={"hostname": "lb.example"}), "", "http://lb.example"),
        (service("LoadBalancer", port=50051, ingress={"ip": "20.0.0.1"}), "", "http://20.0.0.1:50051"),
        (service("LoadBalancer", port=80, ingress={"ip": "2001:db8::1"}), "", "http://[2001:db8::1]"),
        (service("NodePort"), "", "http://10.0.0.2:30443"),
        (service("NodePort"), "10.0.0.2", "https://10.0.0.2:30443"),
        (service("ClusterIP"), "", "http://digits.vision.svc.cluster.local:443"),
    ],
)
def test_the_uri_is_what_clients_need(given: dict[str, Any], tls: str, expected: str) -> None:
    """No path, and no port where it is the usual one, as Azure ML's clients expect; with TLS the certificate's name."""
    found = address_of(given, NODES, ssl_enabled=bool(tls), ssl_cname=tls)

    assert isinstance(found, Address)
    assert (found.scoring_uri, found.http_uri) == (expected, "")


def test_what_is_dialled_is_the_address_and_not_the_name() -> None:
    """The name of a certificate need not resolve yet where `pulumi` runs."""
    found = address_of(service("LoadBalancer", ingress={"ip": "20.0.0.1"}), [], ssl_enabled=True, ssl_cname="a.example")
    inside = address_of(service("ClusterIP", http=True), [], ssl_enabled=False, ssl_cname="")

    assert isinstance(found, Address)
    assert isinstance(inside, Address)
    assert (found.host, found.port) == ("20.0.0.1", 443)
    assert (inside.host, inside.port) == ("10.96.0.7", 443)
    assert inside.http_uri == "http://digits.vision.svc.cluster.local:8501"


def test_an_address_from_outside_comes_first() -> None:
    """Of a node's addresses the one that is reachable from outside the cluster is told."""
    nodes = [node("a", InternalIP="10.0.0.1", ExternalIP="20.0.0.1")]

    found = address_of(service("NodePort"), nodes, ssl_enabled=False, ssl_cname="")

    assert isinstance(found, Address)
    assert found.scoring_uri == "http://20.0.0.1:30443"


@pytest.mark.parametrize(
    ("given", "nodes", "words"),
    [
        (service("LoadBalancer"), NODES, "no load balancer"),
        (service("NodePort"), [NODES[1]], "no node that is ready"),
        ({**service("ClusterIP"), "spec": {"ports": []}}, NODES, "no port named 'grpc'"),
    ],
)
def test_why_there_is_no_address(given: dict[str, Any], nodes: list[dict[str, Any]], words: str) -> None:
    """An address that is not there is told with its reason."""
    found = address_of(given, nodes, ssl_enabled=False, ssl_cname="")

    assert isinstance(found, str)
    assert words in found


def told(preferred: tuple[str, ...], nodes: list[dict[str, Any]]) -> str:
    found = address_of(service("NodePort"), nodes, ssl_enabled=False, ssl_cname="", preferred=preferred)
    assert isinstance(found, Address)
    return found.host


@pytest.mark.parametrize(
    ("preferred", "expected"),
    [
        ((), "10.0.0.2"),
        (("10.0.0.10",), "10.0.0.10"),
        (("10.0.0.9", "10.0.0.10"), "10.0.0.10"),
        (("10.0.0.1",), "10.0.0.2"),
    ],
    ids=["the first by number", "the one that was told", "one with a pod", "never one that is not ready"],
)
def test_the_address_of_a_node_stays(preferred: tuple[str, ...], expected: str) -> None:
    """Clients keep the node that they were told, whatever comes before it by name, as long as it is ready."""
    nodes = [
        node("node-10", InternalIP="10.0.0.10"),
        node("node-2", InternalIP="10.0.0.2"),
        node("node-1", ready=False, InternalIP="10.0.0.1"),
    ]

    assert told(preferred, nodes) == expected


def test_ports_are_read_back_from_uris() -> None:
    """What clients were told says which host and ports they know."""
    uris = {"grpc": "https://fpga.example.com:30443", "http": ""}

    assert (told_host(uris), told_ports(uris)) == ("fpga.example.com", {"grpc": 30443})
    assert (told_host({}), told_ports({"grpc": "http://10.0.0.1"})) == ("", {})
