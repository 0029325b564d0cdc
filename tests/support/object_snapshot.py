"""Every object of a cluster, of every kind that can be listed: what a test leaves behind shows as a difference.

Left out is what changes by itself: events, leases, the addresses behind services, controllers' own accounts.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.support.live_cluster import LiveCluster

BY_ITSELF = {"events", "leases", "endpointslices", "endpoints", "componentstatuses", "leasecandidates"}
# Controllers make their accounts when they start.
OWN_ACCOUNTS = ("serviceaccounts", "kube-system")
NODE_ANNOTATIONS_BY_ITSELF = ("node.alpha.kubernetes.io/ttl", "volumes.kubernetes.io/controller-managed-attach-detach")
# Put on nodes by the cluster itself, such as not-ready.
TAINTS_BY_ITSELF = "node.kubernetes.io/"
LOOK_SECONDS = 0.5
LEAVING = "is being deleted"

Snapshot = Mapping[str, Any]


def object_snapshot(cluster: LiveCluster) -> Snapshot:
    """Return all objects: `pods default/w` → "", and for nodes their labels, annotations, taints and cordon.

    What is being deleted, alone or with its namespace, is `LEAVING`.
    """
    found: dict[str, Any] = {}
    closing = {n["metadata"]["name"] for n in cluster.get("/api/v1/namespaces")["items"] if _is_leaving(n["metadata"])}
    for base in _group_versions(cluster):
        for resource in cluster.get(base)["resources"]:
            kind = resource["name"]
            if "list" not in resource["verbs"] or "/" in kind or kind in BY_ITSELF:
                continue
            for item in cluster.get(f"{base}/{kind}")["items"]:
                metadata = item["metadata"]
                if (kind, metadata.get("namespace")) == OWN_ACCOUNTS:
                    continue
                where = f"{metadata['namespace']}/" if "namespace" in metadata else ""
                name = f"{base.removeprefix('/apis/').removeprefix('/api/')} {kind} {where}{metadata['name']}"
                if _is_leaving(metadata) or metadata.get("namespace") in closing:
                    found[name] = LEAVING
                else:
                    found[name] = _marks(item) if kind == "nodes" else ""
    return found


def differences(before: Snapshot, after: Snapshot) -> list[str]:
    """Return one line for each object that came, went or, being a node, was marked otherwise.

    An earlier test's objects may still have been on their way out: that they are gone is no difference.
    """
    lines = [f"left behind: {name}" for name in sorted(after.keys() - before.keys())]
    lines += [f"gone: {name}" for name in sorted(before.keys() - after.keys()) if before[name] != LEAVING]
    for name in sorted(before.keys() & after.keys()):
        if LEAVING not in (before[name], after[name]) and before[name] != after[name]:
            lines.append(f"changed: {name}: {before[name]} -> {after[name]}")
    return lines


def left_behind(cluster: LiveCluster, before: Snapshot, *, within_seconds: float = 60.0) -> list[str]:
    """Return the differences from an earlier snapshot that are still there after a time: deletion takes some."""
    end = time.monotonic() + within_seconds
    while (found := differences(before, object_snapshot(cluster))) and time.monotonic() < end:
        time.sleep(LOOK_SECONDS)
    return found


def settled_snapshot(cluster: LiveCluster, *, within_seconds: float = 30.0) -> Snapshot:
    """Return a snapshot once it has stayed the same for a second: a fresh cluster still makes its own objects."""
    end = time.monotonic() + within_seconds
    last = object_snapshot(cluster)
    while time.monotonic() < end:
        time.sleep(1.0)
        now = object_snapshot(cluster)
        if now == last:
            break
        last = now
    return last


def _group_versions(cluster: LiveCluster) -> list[str]:
    groups = cluster.get("/apis")["groups"]
    return ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in groups)]


def _is_leaving(metadata: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in metadata


def _marks(node: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec = node["metadata"], node["spec"]
    annotations = metadata.get("annotations") or {}
    return {
        "labels": metadata.get("labels") or {},
        "annotations": {k: v for k, v in annotations.items() if k not in NODE_ANNOTATIONS_BY_ITSELF},
        "taints": [t for t in spec.get("taints") or [] if not t["key"].startswith(TAINTS_BY_ITSELF)],
        "unschedulable": spec.get("unschedulable", False),
    }
