"""What this machine must have for a cluster; what is missing is named, with the command that brings it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.cluster.node import CNI_PROGRAMS, HIDDEN

# Program -> Debian package.
PROGRAMS = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "sysctl": "procps",
    "gcc": "gcc",
    "mmdebstrap": "mmdebstrap",
}
# As counted: the API server and the controllers; containerd and kubelet.
WATCHES = 4
WATCHES_PER_NODE = 7
CNI_PACKAGE = "containernetworking-plugins"


def missing(folder: Path) -> list[str]:
    """Return, one sentence each, what keeps a cluster from starting here; empty when nothing does."""
    if sys.platform != "linux":
        return [f"a test cluster needs Linux, this is {sys.platform}"]
    found = []
    if os.geteuid() != 0:
        found.append("a test cluster needs root: it makes namespaces, mounts and cgroups")
    elif not _may_make_namespaces():
        found.append(
            "a test cluster needs the right to make namespaces and cgroups: a machine, or a privileged container"
        )
    packages = missing_packages()
    if packages:
        found.append(f"these Debian packages are not installed: {' '.join(packages)} (as root: apt-get install them)")
    for hidden in HIDDEN:
        if folder.resolve().is_relative_to(hidden):
            found.append(f"a cluster's folder cannot be below {hidden}, which each node has of its own: {folder}")
    return found


def _may_make_namespaces() -> bool:
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "true"]
    try:
        may = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return True  # a missing package, which is named as such
    return may and not os.statvfs("/sys/fs/cgroup").f_flag & os.ST_RDONLY


def short_of_watches(node_count: int) -> str:
    """Return a sentence when the kernel would run out of this user's inotify instances, else an empty text.

    Without one, a kubelet never becomes Ready and does not say why.
    """
    limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text(encoding="ascii"))
    needed = WATCHES + WATCHES_PER_NODE * node_count
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    used += os.readlink(process / "fd" / descriptor) == "anon_inode:inotify"
    if used + needed <= limit:
        return ""
    return (
        f"{node_count} nodes need {needed} inotify instances, and {used} of this machine's {limit} are in use: stop "
        f"another cluster, or as root: sysctl fs.inotify.max_user_instances={2 * (used + needed)}"
    )


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not there."""
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    packages = [package for program, package in PROGRAMS.items() if shutil.which(program, path=search) is None]
    if not Path(CNI_PROGRAMS, "bridge").exists():
        packages.append(CNI_PACKAGE)
    return sorted(set(packages))
