"""The pool's device plugin: it tells each node's kubelet of the FPGAs that the runtime emulates there."""

from __future__ import annotations

from typing import Any

from accelform.plans import cluster_names as words
from cluster.configuration import pull_secret
from cluster.namespace import namespace
from cluster.naming import SKIP_AWAIT, Manifest, plugin_name, pool_toleration
from settings import Settings

PLUGIN = ("python3", "-m", "accelform_runtime.device_plugin")
DEVICES_FOLDER = "/var/lib/accelform/fpga"
KUBELET_FOLDER = "/var/lib/kubelet/device-plugins"
POD_RESOURCES_FOLDER = "/var/lib/kubelet/pod-resources"
_FOLDERS = {"devices": DEVICES_FOLDER, "kubelet": KUBELET_FOLDER, "pod-resources": POD_RESOURCES_FOLDER}


def plugin_namespace(settings: Settings, *, owner: str) -> Manifest:
    """Its own namespace: only folders of the host take it beyond the baseline profile."""
    return namespace(plugin_name(settings), level="privileged", owner=owner)


def plugin_identity(settings: Settings, *, owner: str) -> list[Manifest]:
    """ServiceAccount and rights: it deletes the pod whose FPGA broke, once the node shows one FPGA less."""
    name = plugin_name(settings)
    cluster_wide = {"name": name, **_marks(settings, owner)}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": plugin_metadata(settings, owner=owner),
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": cluster_wide,
            "rules": [
                {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]},
                {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": cluster_wide,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
        },
    ]


def daemon_set(settings: Settings, *, owner: str, image: Any, node_selector: Any) -> Manifest:
    """One plugin on each node of the pool. It is root there, for the kubelet's sockets are, and has no capability."""
    labels = _labels(settings)
    spec: Manifest = {
        "serviceAccountName": plugin_name(settings),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "priorityClassName": "system-node-critical",
        "nodeSelector": node_selector,
        "tolerations": [pool_toleration(settings)],
        "securityContext": {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 10,
        "containers": [_container(settings, image)],
        "volumes": [{"name": name, "hostPath": _host_path(name, folder)} for name, folder in _FOLDERS.items()],
    }
    if settings.registry_pull_config is not None:
        spec["imagePullSecrets"] = [{"name": f"{plugin_name(settings)}-pull"}]
    metadata = plugin_metadata(settings, owner=owner)
    metadata["annotations"] = {**metadata["annotations"], **SKIP_AWAIT}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": labels},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def plugin_policy(settings: Settings, *, owner: str) -> Manifest:
    """Nobody calls the plugin over the network."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": plugin_metadata(settings, owner=owner),
        "spec": {"podSelector": {"matchLabels": _labels(settings)}, "policyTypes": ["Ingress"], "ingress": []},
    }


def plugin_pull_secret(settings: Settings, *, owner: str, docker_config: Any) -> Manifest:
    """The registry's password for the plugin's image; `docker_config` in base64."""
    metadata = plugin_metadata(settings, owner=owner)
    metadata["name"] += "-pull"
    return pull_secret(metadata, docker_config=docker_config)


def plugin_metadata(settings: Settings, *, owner: str) -> Manifest:
    """Metadata of the plugin's objects in its namespace."""
    name = plugin_name(settings)
    return {"name": name, "namespace": name, **_marks(settings, owner)}


def _marks(settings: Settings, owner: str) -> Manifest:
    return {
        "labels": {**_labels(settings), words.MANAGER_LABEL: words.MANAGER},
        "annotations": {words.OWNER_ANNOTATION: owner},
    }


def _labels(settings: Settings) -> dict[str, str]:
    return {words.SERVICE_LABEL: plugin_name(settings)}


def _container(settings: Settings, image: Any) -> Manifest:
    return {
        "name": "device-plugin",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [
            *PLUGIN,
            *("--resource-name", settings.resource_name),
            *("--devices-folder", DEVICES_FOLDER),
            *("--kubelet-folder", KUBELET_FOLDER),
            *("--pod-resources-socket", f"{POD_RESOURCES_FOLDER}/kubelet.sock"),
        ],
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": name, "mountPath": folder} for name, folder in _FOLDERS.items()],
    }


def _host_path(name: str, folder: str) -> Manifest:
    return {"path": folder, "type": "DirectoryOrCreate" if name == "devices" else "Directory"}
