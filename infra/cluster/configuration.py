"""What the server in a pod reads: service.json, its access files; and the password of the registry."""

from __future__ import annotations

import hashlib
from typing import Any

from accelform.plans import cluster_names as words
from accelform.plans import serving
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.settings import KUBERNETES, Serving, settings_of
from cluster.naming import Manifest, service_metadata
from settings import Settings

SERVICE_FILE = "service.json"
KEYS_FILE = "keys.json"
TOKEN_KEYS_FILE = "token_keys.pem"
TLS_FILE = "tls.pem"
"""Private key and certificate in one file, so that no reader sees those of different deployments."""
CLIENT_CA_FILE = "client_ca.pem"


def service_config(settings: Settings, *, image: str) -> ServiceConfig:
    """The settings that the server starts with. Raises ConfigInvalid where it would refuse them."""
    keys_wanted = serving.keys_wanted(vars(settings))
    tls = _access_path(TLS_FILE, wanted=settings.ssl_enabled)
    # Of the time to load: the server gives up first, and says in its log why; then the startup probe would end it.
    obeyed = {row.name: getattr(settings, row.name) for row in settings_of(Serving) if KUBERNETES in row.targets}
    return ServiceConfig(
        **{
            **obeyed,
            "name": settings.service_name,
            "listen_address": "0.0.0.0",
            "port": words.GRPC_PORT,
            "health_port": words.HEALTH_PORT,
            "http_port": words.HTTP_PORT,
            "auth_enabled": keys_wanted,
            "keys_file": _access_path(KEYS_FILE, wanted=keys_wanted),
            "token_keys_file": _access_path(TOKEN_KEYS_FILE, wanted=settings.token_auth_enabled),
            "ssl_cert_pem_file": tls,
            "ssl_key_pem_file": tls,
            "ssl_client_ca_pem_file": _access_path(CLIENT_CA_FILE, wanted=bool(settings.ssl_client_ca_pem_file)),
            "device_lock_file": f"{words.FPGA_FOLDER}/lock",
            "image": image,
        }
    )


def service_json(settings: Settings, *, image: str) -> str:
    """service.json, as the server reads it."""
    return service_config(settings, image=image).to_json()


def digest(text: str) -> str:
    """Identity of a file that pods read only when they start: in their template, so that another one restarts them."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def config_map(settings: Settings, *, owner: str, content: Any) -> Manifest:
    """The ConfigMap with service.json; `content` is its text."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": service_metadata(settings, "config", owner=owner),
        "data": {SERVICE_FILE: content},
    }


def access_secret(settings: Settings, *, owner: str, files: dict[str, Any]) -> Manifest:
    """The Secret with the access files, in base64; a running server takes other contents over."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": service_metadata(settings, "access", owner=owner),
        "data": files,
    }


def access_files(settings: Settings, contents: dict[str, Any]) -> dict[str, Any]:
    """Of `contents`, by file name, the files that these settings need; the rest is empty."""
    wanted = {
        KEYS_FILE: serving.keys_wanted(vars(settings)),
        TOKEN_KEYS_FILE: settings.token_auth_enabled,
        TLS_FILE: settings.ssl_enabled,
        CLIENT_CA_FILE: settings.ssl_enabled and bool(settings.ssl_client_ca_pem_file),
    }
    return {name: contents[name] for name, is_wanted in wanted.items() if is_wanted}


def pull_secret(metadata: Manifest, *, docker_config: Any) -> Manifest:
    """The Secret that lets the kubelet pull from a private registry; `docker_config` is a config.json in base64."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": metadata,
        "data": {".dockerconfigjson": docker_config},
    }


def _access_path(name: str, *, wanted: bool) -> str:
    return f"{words.ACCESS_FOLDER}/{name}" if wanted else ""
