"""The pod of a replica: one container, one FPGA, no rights, a root that cannot be written to."""

from __future__ import annotations

import math
from typing import Any

from accelform.plans import cluster_names as words
from cluster.naming import (
    Manifest,
    access_name,
    config_name,
    pool_toleration,
    pull_name,
    service_labels,
)
from settings import Settings

CONTAINER = "server"
SERVER = ("python3", "-m", "accelform_runtime.server")
STARTUP_PERIOD_SECONDS = 1
STOP_MARGIN_SECONDS = 10
"""Time after the drain in which the server writes its last lines and the container ends."""
_SECRET_MODE = 0o440
"""Readable by the pod's group (fsGroup), which alone holds the server's user."""

RESTRICTED_POD: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": words.USER_ID,
    "runAsGroup": words.USER_ID,
    "fsGroup": words.USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_spec(settings: Settings, *, image: Any, node_selector: Any) -> Manifest:
    """The pod's specification. `image` by digest; `node_selector` are the labels of the pool's nodes."""
    spec: Manifest = {
        "serviceAccountName": settings.service_name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "nodeSelector": node_selector,
        "tolerations": [pool_toleration(settings)],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": service_labels(settings)},
            }
        ],
        "securityContext": RESTRICTED_POD,
        "terminationGracePeriodSeconds": grace_seconds(settings),
        "containers": [_container(settings, image)],
        "volumes": _volumes(settings),
    }
    if settings.registry_pull_config is not None:
        spec["imagePullSecrets"] = [{"name": pull_name(settings)}]
    return spec


def grace_seconds(settings: Settings) -> int:
    """Time from the order to stop to a kill: the server's whole way out fits into it."""
    on_its_way = settings.prestop_seconds + settings.lame_duck_seconds + settings.drain_seconds
    return math.ceil(on_its_way) + STOP_MARGIN_SECONDS


def _container(settings: Settings, image: Any) -> Manifest:
    ports = [{"name": "grpc", "containerPort": words.GRPC_PORT, "protocol": "TCP"}]
    if settings.http_enabled:
        ports.append({"name": "http", "containerPort": words.HTTP_PORT, "protocol": "TCP"})
    ports.append({"name": "health", "containerPort": words.HEALTH_PORT, "protocol": "TCP"})
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": "IfNotPresent",  # the digest says which
        "command": [
            *SERVER,
            "--model-dir",
            words.MODEL_FOLDER,
            "--config",
            f"{words.SERVICE_FOLDER}/service.json",
        ],
        "ports": ports,
        "resources": _resources(settings),
        **_probes(settings),
        "securityContext": RESTRICTED_CONTAINER,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": _mounts(settings),
    }
    if settings.prestop_seconds:
        # Endpoints leave the proxies while the server still takes calls; only then it gets SIGTERM.
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": settings.prestop_seconds}}}
    return container


def _resources(settings: Settings) -> Manifest:
    limits: dict[str, str] = {settings.resource_name: "1"}
    if settings.cpu_cores_limit is not None:
        limits["cpu"] = _milli(settings.cpu_cores_limit)
    if settings.memory_gb_limit is not None:
        limits["memory"] = _mebibytes(settings.memory_gb_limit)
    requests = {
        "cpu": _milli(settings.cpu_cores),
        "memory": _mebibytes(settings.memory_gb),
        settings.resource_name: "1",
    }
    return {"requests": requests, "limits": limits}


def _probes(settings: Settings) -> Manifest:
    """Started once the model is loaded; ready while it serves; alive as long as the process can recover by itself."""
    serving: Manifest = {"port": words.HEALTH_PORT, "service": ""}
    often: Manifest = {"periodSeconds": settings.period_seconds, "timeoutSeconds": settings.timeout_seconds}
    return {
        "startupProbe": {
            "grpc": serving,
            "periodSeconds": STARTUP_PERIOD_SECONDS,
            "timeoutSeconds": settings.timeout_seconds,
            "successThreshold": 1,
            "failureThreshold": math.ceil(
                (settings.initial_delay_seconds + STOP_MARGIN_SECONDS) / STARTUP_PERIOD_SECONDS
            ),
        },
        "readinessProbe": {
            "grpc": serving,
            **often,
            "successThreshold": settings.success_threshold,
            "failureThreshold": settings.failure_threshold,
        },
        "livenessProbe": {
            "grpc": {"port": words.HEALTH_PORT, "service": words.LIVE_SERVICE},
            **often,
            "successThreshold": 1,  # Kubernetes allows no other
            "failureThreshold": settings.failure_threshold,
        },
    }


def _mounts(settings: Settings) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "config", "mountPath": words.SERVICE_FOLDER, "readOnly": True},
        {"name": "access", "mountPath": words.ACCESS_FOLDER, "readOnly": True},
        {"name": "scratch", "mountPath": "/tmp"},
    ]
    if not settings.own_device_plugin:
        mounts.append({"name": "fpga", "mountPath": words.FPGA_FOLDER})
    return mounts


def _volumes(settings: Settings) -> list[Manifest]:
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": config_name(settings), "defaultMode": 0o444}},
        {"name": "access", "secret": {"secretName": access_name(settings), "defaultMode": _SECRET_MODE}},
        {"name": "scratch", "emptyDir": {}},
    ]
    if not settings.own_device_plugin:
        # Another plugin mounts no folder for the lock; the scheduler alone keeps the FPGA for one pod.
        volumes.append({"name": "fpga", "emptyDir": {}})
    return volumes


def _milli(cores: float) -> str:
    """`cores` as Kubernetes writes it back: whole cores, else thousandths; never less than one thousandth."""
    thousandths = max(1, round(cores * 1000))
    return str(thousandths // 1000) if thousandths % 1000 == 0 else f"{thousandths}m"


def _mebibytes(gigabytes: float) -> str:
    """`gigabytes` (of 1024 MiB, as Azure ML counts them) as Kubernetes writes it back."""
    mebibytes = max(1, round(gigabytes * 1024))
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"
