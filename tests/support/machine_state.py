"""What a cluster could leave on this machine: to be compared before and after. Other tests may run meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tools.cluster import cgroups

# Where Kubernetes' programs write when they have no folders of their own.
SHARED = (
    "/etc/cni/net.d",
    "/etc/kubernetes",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/accelform",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
INTERFACES = ("accelform", "cni", "node", "switch", "veth")


def machine_state(folder: Path) -> dict[str, object]:
    """Return mounts, cgroups, interfaces, routes, packet filter rules, processes and files that a cluster could leave.

    `folder` is the cluster's. Of cgroups only the top ones count: another cluster's pods come and go.
    """
    rules = "\n".join(_output("iptables-save", "-t", table) for table in ("filter", "nat", "mangle"))
    groups = [f"{tree.name}/{name}" for tree in cgroups.trees() for name in os.listdir(tree)]
    routes = json.loads(_output("ip", "-json", "-4", "route", "show", "table", "all"))
    return {
        "mounts": sorted(line for line in Path("/proc/self/mountinfo").read_text().splitlines() if _ours(line, folder)),
        "cgroups": sorted(group for group in groups if "accelform" in group or "kube" in group),
        "interfaces": sorted(name for name in os.listdir("/sys/class/net") if name.startswith(INTERFACES)),
        "routes": sorted(str((route["dst"], route["dev"])) for route in routes if route["dev"].startswith(INTERFACES)),
        "rules": sorted(line for line in rules.splitlines() if "KUBE" in line or "CNI" in line),
        "files": {path: sorted(os.listdir(path)) for path in SHARED if os.path.isdir(path)},
        "processes": sorted(_processes(folder)),
        "folder": folder.exists(),
    }


def _ours(mount: str, folder: Path) -> bool:
    return str(folder) in mount or any(word in mount for word in ("kubelet", "containerd", "cni", "accelform"))


def _processes(folder: Path) -> list[str]:
    """Command lines of what was started for the folder, and of what has its root in it, as containers do."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            mark = (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command or os.fsencode(f"={folder}") in mark:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
