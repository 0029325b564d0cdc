"""A test cluster's names and addresses, and the files in which they and its programs are kept."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
from tools.cluster.layout import MAX_NODES, Layout
from tools.cluster.program import Program, flags


def layout(folder: Path, nodes: int = 4) -> Layout:
    return Layout(folder=folder, number=201, node_count=nodes, registry_port=5000, bin_folder=Path("/opt/bin"))


def test_addresses_do_not_collide(tmp_path: Path) -> None:
    """Nodes, pods and services have networks of their own, also in the largest cluster."""
    largest = layout(tmp_path, MAX_NODES)
    wire = ipaddress.IPv4Network(f"{largest.address(0)}/24")
    pods = [ipaddress.IPv4Network(largest.pod_subnet(node)) for node in largest.nodes]
    everything = [wire, ipaddress.IPv4Network(largest.service_range), *pods]
    assert not any(a.overlaps(b) for i, a in enumerate(everything) for b in everything[:i])
    assert all(subnet.subnet_of(ipaddress.IPv4Network(largest.pod_range)) for subnet in pods)
    assert not wire.overlaps(ipaddress.IPv4Network(largest.pod_range)), "kube-proxy would not hide who asks from pods"
    addresses = [largest.gateway, largest.control, *map(largest.node_address, largest.nodes)]
    assert len(set(addresses)) == MAX_NODES + 2
    assert all(ipaddress.ip_address(address) in wire for address in addresses)
    assert len(largest.interface) <= 15, "Linux allows no longer names"


def test_a_layout_is_kept(tmp_path: Path) -> None:
    """What `start` wrote is what others read; without a file, or with a torn one, there is no layout."""
    assert Layout.load(tmp_path) is None
    layout(tmp_path).save()
    assert Layout.load(tmp_path) == layout(tmp_path)
    (tmp_path / "cluster.json").write_text('{"number": 2', encoding="utf-8")
    assert Layout.load(tmp_path) is None


def test_a_nodes_own_folders(tmp_path: Path) -> None:
    """A `hostPath` below a folder that each node has of its own is found on this machine; any other is refused."""
    found = layout(tmp_path).host_path("node-2", "/var/lib/accelform/fpga/fpga-0/fault")
    assert found == tmp_path / "nodes" / "node-2" / "accelform" / "fpga" / "fpga-0" / "fault"
    with pytest.raises(ValueError, match=r"/etc/hosts is not a node's own: /var/lib/kubelet"):
        layout(tmp_path).host_path("node-1", "/etc/hosts")


def test_a_program_is_kept(tmp_path: Path) -> None:
    """A program's file holds all of it, and nothing half-written bears its name."""
    program = Program(name="kubelet@node-1", arguments=("kubelet", *flags(node_ip="10.0.0.1", v=2)), place="node-1")
    program.save(tmp_path)
    assert [file.name for file in tmp_path.glob("*.json")] == ["kubelet@node-1.json"]
    assert Program.load(tmp_path / "kubelet@node-1.json") == program
    assert program.arguments == ("kubelet", "--node-ip=10.0.0.1", "--v=2")
