"""What values a service's settings may have, and which of them go together."""

from __future__ import annotations

import ipaddress
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "port": (0, 65535),
    "http_port": (0, 65535),
    "health_port": (0, 65535),
    "threads": (0, 4096),
    "max_queue": (1, 100_000),
    "max_request_wait_time_ms": (0, math.inf),
    "scoring_timeout_ms": (1, math.inf),
    "max_request_bytes": (1024, 1 << 30),
    "max_received_bytes": (0, 1 << 40),
    "max_connections": (1, 1_000_000),
    "max_concurrent_streams": (1, 1_000_000),
    "handshake_timeout_seconds": (0.1, 3600),
    "receive_timeout_seconds": (0.1, 3600),
    "load_timeout_seconds": (1, 86400),
    "hang_timeout_ms": (0, math.inf),
    "lame_duck_seconds": (0, 3600),
    "drain_seconds": (0, 3600),
}


def range_problems(values: Mapping[str, Any], *, engines: Sequence[str]) -> list[str]:
    """Every reason why `values`, each of the right type, cannot be a service's settings."""
    found = [f"{name} must not be empty" for name in ("name", "device_lock_file") if not values[name]]
    for name, (least, most) in _RANGES.items():
        if not least <= values[name] <= most:
            limits = f"at least {least:g}" if most == math.inf else f"between {least:g} and {most:g}"
            found.append(f"{name} must be {limits}, not {values[name]}")
    if 0 < values["max_received_bytes"] < (least := 3 * values["max_request_bytes"]):
        found.append(
            f"max_received_bytes must be at least three times max_request_bytes, {least}, "
            f"or 0 for that; it is {values['max_received_bytes']}"
        )
    if not _is_address(values["listen_address"]):
        found.append(f"listen_address must be an IPv4 or IPv6 address, not {values['listen_address']!r}")
    if values["engine"] not in engines:
        found.append(f"engine must be one of {', '.join(engines)}, not {values['engine']!r}")
    return found + _who_may_call(values) + _tls(values) + _ports(values) + _telemetry(values)


def _who_may_call(values: Mapping[str, Any]) -> list[str]:
    found = []
    if values["auth_enabled"] and values["token_auth_enabled"]:
        found.append("auth_enabled and token_auth_enabled exclude each other; turn one of them off")
    if values["auth_enabled"] and not values["keys_file"]:
        found.append("auth_enabled needs keys_file")
    if values["token_auth_enabled"] and not values["token_keys_file"]:
        found.append("token_auth_enabled needs token_keys_file")
    return found


def _tls(values: Mapping[str, Any]) -> list[str]:
    if bool(values["ssl_cert_pem_file"]) != bool(values["ssl_key_pem_file"]):
        return ["ssl_cert_pem_file and ssl_key_pem_file go together; give both or neither"]
    if values["ssl_client_ca_pem_file"] and not values["ssl_cert_pem_file"]:
        return ["ssl_client_ca_pem_file needs ssl_cert_pem_file and ssl_key_pem_file"]
    return []


def _ports(values: Mapping[str, Any]) -> list[str]:
    used = {"port": values["port"], "health_port": values["health_port"]}
    if values["http_enabled"]:
        used["http_port"] = values["http_port"]
    return [
        f"{one} and {other} are both {used[one]}; give each a port of its own"
        for one, other in itertools.combinations(("port", "http_port", "health_port"), 2)
        if used.get(one) and used[one] == used.get(other)
    ]


def _telemetry(values: Mapping[str, Any]) -> list[str]:
    endpoint = values["otlp_endpoint"]
    if not endpoint:
        return []
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
        usable = usable and not parts.username and not parts.password
    except ValueError:
        usable = False
    return [] if usable else ["otlp_endpoint must be http://host:port or https://host:port, without a user name"]


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
