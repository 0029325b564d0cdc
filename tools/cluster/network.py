"""The cluster's network: one cable to this machine, a switch in the control plane's namespace, a cable to each node.

All of it but one interface lies in namespaces that end with their processes, so nothing has to be taken down.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tools.cluster.layout import NUMBERS, Layout
from tools.progress import StepFailed


def reserve_number() -> tuple[int, socket.socket]:
    """Return a number whose addresses nobody uses here, and what keeps it ours: a socket that its holder inherits."""
    used = _used_networks()
    for number in NUMBERS:
        if any(network.overlaps(ipaddress.ip_network(f"10.{number}.0.0/16")) for network in used):
            continue
        # An abstract socket: taken by one process at a time, and gone with it.
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            claim.bind(f"\0accelform-cluster-{number}")
        except OSError:
            claim.close()
            continue
        claim.set_inheritable(True)
        return number, claim
    raise StepFailed(
        f"no free network 10.{NUMBERS[0]}.0.0/16 to 10.{NUMBERS[-1]}.0.0/16 for a test cluster; `ip route` shows what "
        "uses them: stop another test cluster or leave such a network"
    )


def connect(layout: Layout, holders: Mapping[str, int]) -> None:
    """Lay all cables; `holders` maps "control" and each node's name to a process in its network namespace."""
    control = holders["control"]
    _ip(None, f"link add {layout.interface} type veth peer name host netns {control}")
    _sysctl(control, "net.ipv4.tcp_orphan_retries=1")
    _ip(control, "link set lo up", "link add switch type bridge", "link set switch up")
    _ip(control, "link set host master switch up", f"addr add {layout.control}/24 dev switch")
    for index, node in enumerate(layout.nodes, start=1):
        _ip(control, f"link add node{index} type veth peer name eth0 netns {holders[node]}")
        _ip(control, f"link set node{index} master switch up")
    for node in layout.nodes:
        others = [f"route add {layout.pod_subnet(o)} via {layout.node_address(o)}" for o in layout.nodes if o != node]
        _ip(
            holders[node],
            "link set lo up",
            f"addr add {layout.node_address(node)}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {layout.gateway}",
            *others,
        )
        _sysctl(holders[node], "net.ipv4.ip_forward=1", "net.ipv4.tcp_orphan_retries=1")
    # Pods are reached through their node, services through the first node's kube-proxy.
    routes = [f"route add {layout.pod_subnet(node)} via {layout.node_address(node)}" for node in layout.nodes]
    routes += [f"route add {layout.service_range} via {layout.node_address(layout.nodes[0])}"]
    _ip(control, *routes)
    _ip(None, f"addr add {layout.gateway}/24 dev {layout.interface}", f"link set {layout.interface} up", *routes)


def disconnect(layout: Layout) -> None:
    """Remove the cable, once all processes are gone.

    It would go with the control plane's namespace, but that stays while the kernel still tries to tell peers that are
    gone as well about connections that a killed process had.
    """
    if Path("/sys/class/net", layout.interface).exists():
        subprocess.run(["ip", "link", "delete", layout.interface], capture_output=True, check=False)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _used_networks() -> list[ipaddress.IPv4Network]:
    answer = subprocess.run(["ip", "-json", "-4", "route", "show", "table", "all"], capture_output=True, check=True)
    networks = []
    for route in json.loads(answer.stdout):
        if route["dst"] != "default":
            networks.append(ipaddress.IPv4Network(route["dst"], strict=False))
    return networks


def _ip(holder: int | None, *commands: str) -> None:
    enter = [] if holder is None else ["nsenter", "-t", str(holder), "-n"]
    _run([*enter, "ip", "-batch", "-"], input="\n".join(commands) + "\n")


def _sysctl(holder: int, *settings: str) -> None:
    _run(["nsenter", "-t", str(holder), "-n", "sysctl", "-qw", *settings])


def _run(command: list[str], input: str = "") -> None:
    answer = subprocess.run(command, input=input, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise StepFailed(f"{' '.join(command)} failed: {answer.stderr.strip()}\n{input}")
