"""`python -m tools.cluster start|stop|status|prepare`: a real Kubernetes with several nodes on this machine, for tests.

`prepare` builds and caches all that the tests of ring cluster need, or says why they will be skipped here; `packages`
prints the Debian packages that are missing.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tools.cluster import simulated, state
from tools.cluster.layout import CONTEXT, Layout
from tools.cluster.lifecycle import is_up, start, stop
from tools.cluster.registry import USER, password_file
from tools.cluster.requirements import missing, missing_packages
from tools.cluster.rootfs import rootfs
from tools.progress import exit_on_sigterm, reported, say
from tools.toolchain.toolsets import KUBERNETES, TOOLSETS, ensure

DEFAULT_NODES = 4


def default_folder() -> Path:
    """Return this user's folder for the cluster that `make cluster` starts."""
    return Path(tempfile.gettempdir()) / f"accelform-cluster-{os.getuid()}"


def describe(layout: Layout) -> str:
    """Return what a user needs to know of a running cluster, one `name: value` per line."""
    lines = {
        "kubeconfig": layout.kubeconfig,
        "context": CONTEXT,
        "server": layout.server,
        "registry": layout.registry,
        "registry with TLS": f"{layout.tls_registry} with CA {layout.pki}/ca.crt",
        "its user": f"{USER}, with the password in {password_file(layout)}",
        "nodes": ", ".join(f"{node} {layout.node_address(node)}" for node in layout.nodes),
        "logs": layout.logs,
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())


def status(folder: Path) -> int:
    """Print what is there; 0 when the cluster is up, 3 when it is not."""
    layout = Layout.load(folder.resolve())
    if layout is None:
        say(f"no cluster in {folder}")
        return 3
    up = is_up(layout)
    print(f"{'up' if up else 'not up'}: {len(state.processes(layout.folder))} processes of its own")
    if up:
        print(describe(layout))
    return 0 if up else 3


def prepare(folder: Path) -> None:
    """Build what is not cached, outside any test's time limit; where no cluster can be, say what is missing."""
    problems = missing(folder)
    if problems:
        say("  no cluster here, so its tests will be skipped: " + "; ".join(problems))
        return
    for toolset in TOOLSETS:
        ensure(toolset)
    rootfs()


def main() -> int:
    """Run one command; 0, 1 with what to do next, or 3 for a status that is not up."""
    exit_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    parser.add_argument("command", choices=("start", "stop", "status", "prepare", "packages"))
    parser.add_argument("--folder", type=Path, default=default_folder(), help="default: %(default)s")
    parser.add_argument("--nodes", type=int, default=DEFAULT_NODES, help="real nodes; default: %(default)s")
    parser.add_argument("--simulated-nodes", type=int, default=0, help="nodes by kwok, with 6 vCPUs and an FPGA each")
    arguments = parser.parse_args()
    if arguments.command == "status":
        return status(arguments.folder)
    return reported(lambda: _run(arguments))


def _run(arguments: argparse.Namespace) -> None:
    if arguments.command == "packages":
        print(" ".join(missing_packages()))
    elif arguments.command == "prepare":
        prepare(arguments.folder)
    elif arguments.command == "stop":
        say("  stopped" if stop(arguments.folder) else f"  no cluster in {arguments.folder}")
    else:
        layout = start(arguments.folder, node_count=arguments.nodes, bin_folder=ensure(KUBERNETES))
        if arguments.simulated_nodes:
            simulated.add(layout, arguments.simulated_nodes)
        print(describe(layout))


if __name__ == "__main__":
    sys.exit(main())
