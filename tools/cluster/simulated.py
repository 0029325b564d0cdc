"""Nodes that exist for the API server and the scheduler only: kwok keeps them Ready and says their pods run.

Where one machine's real nodes end: pools of hundreds of FPGAs and services, at the cost of some requests per second.
"""

from __future__ import annotations

import contextlib
import time
import urllib.error
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.cluster.api import Api
from tools.cluster.layout import Layout
from tools.cluster.program import Program, flags
from tools.progress import StepFailed, elapsed, say
from tools.toolchain.toolsets import KWOK, ensure

# kwok looks after the nodes with this annotation and leaves all others alone.
ANNOTATION = ("kwok.x-k8s.io/node", "fake")
PREFIX = "simulated-"
# A PB6 machine: 6 vCPUs, 1 FPGA, memory in round numbers.
VCPUS = 6
RESOURCES: Mapping[str, str] = {"microsoft.com/fpga_catapult": "1", "memory": "56Gi", "pods": "110"}
LEASE_SECONDS = 40
PARALLEL = 8
READY_SECONDS_PER_NODE = 0.5
PROGRAM = "kwok"


def add(layout: Layout, count: int, *, vcpus: int = VCPUS, resources: Mapping[str, str] = RESOURCES) -> tuple[str, ...]:
    """Make sure of `count` simulated nodes, `simulated-0001` and so on; return their names when all are Ready.

    `resources` are a node's allocatable resources beside `vcpus` processors. kwok is built when it is not cached.
    """
    kwok = ensure(KWOK) / PROGRAM
    started = time.monotonic()
    api = Api(layout.kubeconfig)
    _program(layout, kwok).save(layout.programs)
    names = tuple(f"{PREFIX}{index:04d}" for index in range(1, count + 1))
    present = _node_names(api)
    status = dict(resources) | {"cpu": str(vcpus)}
    with ThreadPoolExecutor(PARALLEL) as pool:
        absent = [name for name in names if name not in present]
        list(pool.map(lambda name: api.send("POST", "/api/v1/nodes", _node(name, status)), absent))
    end = time.monotonic() + 30 + READY_SECONDS_PER_NODE * count
    while waiting := set(names) - api.ready_nodes():
        if time.monotonic() > end:
            raise StepFailed(f"{len(waiting)} of {count} simulated nodes are not Ready; see {layout.logs / PROGRAM}")
        time.sleep(0.2)
    say(f"  {count} simulated nodes are Ready ({elapsed(time.monotonic() - started)})")
    return names


def remove(layout: Layout) -> int:
    """Delete all simulated nodes with their pods, and end kwok; returns how many nodes there were."""
    api = Api(layout.kubeconfig)
    names = [name for name in _node_names(api) if name.startswith(PREFIX)]
    pods = [pod for pod in api.get("/api/v1/pods")["items"] if pod["spec"].get("nodeName") in set(names)]
    paths = [f"/api/v1/nodes/{name}" for name in names]
    paths += [f"/api/v1/namespaces/{p['metadata']['namespace']}/pods/{p['metadata']['name']}" for p in pods]
    with ThreadPoolExecutor(PARALLEL) as pool:
        list(pool.map(lambda path: _delete(api, path), paths))
    (layout.programs / f"{PROGRAM}.json").unlink(missing_ok=True)
    return len(names)


def _node_names(api: Api) -> set[str]:
    return {str(node["metadata"]["name"]) for node in api.get("/api/v1/nodes")["items"]}


def _delete(api: Api, path: str) -> None:
    with contextlib.suppress(urllib.error.HTTPError):
        api.send("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})


def _program(layout: Layout, kwok: Path) -> Program:
    arguments = flags(
        kubeconfig=str(layout.kubeconfig),
        manage_all_nodes="false",
        manage_nodes_with_annotation_selector="=".join(ANNOTATION),
        node_lease_duration_seconds=LEASE_SECONDS,
        cidr=f"10.{layout.number}.192.1/18",  # its pods' addresses lead nowhere
        config="/dev/null",  # not the user's own
        v="WARN",
    )
    return Program(name=PROGRAM, place="control", arguments=(str(kwok), *arguments))


def _node(name: str, status: Mapping[str, str]) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": dict([ANNOTATION]),
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"},
        },
        "status": {"allocatable": status, "capacity": status},
    }
