"""Who may call a web service and how it serves: which settings go together, and what values they may have.

What one setting may be stands where it is declared (accelform_runtime.settings), and the server checks it again when it
starts; here every mistake is told at preview, and by the name that the person who made it wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from accelform.plans.contract import Problem
from accelform_runtime.settings import (
    EVERYWHERE,
    Encryption,
    Keys,
    Rollout,
    Serving,
    received_bytes_problem,
    settings_of,
)
from accelform_runtime.settings import problems as setting_problems

SSL_FILES = ("ssl_cert_pem_file", "ssl_key_pem_file")

_DECLARED = tuple(row for group in (Serving, Keys, Encryption, Rollout) for row in settings_of(group))
_DEFAULTS = Serving()


def problems(inputs: Mapping[str, Any], *, pending: Collection[str] = ()) -> list[Problem]:
    """Everything wrong with the settings in `inputs`, which holds only those that are set and known.

    `pending` names those that are set and whose value only the deployment will tell.
    """
    return [
        *_taken_alone(inputs),
        *_amounts(inputs),
        *_who_may_call(inputs, pending),
        *_encryption(inputs, pending),
        *_over_http(inputs, pending),
    ]


def keys_wanted(inputs: Mapping[str, Any]) -> bool:
    """Whether calls need a key: unless told otherwise they do, except where they need a token."""
    given = inputs.get("auth_enabled")
    return bool(given) if given is not None else not inputs.get("token_auth_enabled")


def key_problems(inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with own keys and their generations; looks at whether a key is given and never at the key."""
    found = []
    given = [name for name in ("primary_key", "secondary_key") if name in inputs]
    if given and not keys_wanted(inputs):
        why = "calls need a token" if inputs.get("token_auth_enabled") else "auth_enabled is false"
        found.append(
            Problem(property="auth_enabled", reason=f"{' and '.join(given)} given but {why}; drop one of the two")
        )
    for name in given:
        generation = f"{name}_generation"
        if inputs.get(generation, 1) != 1:
            found.append(
                Problem(
                    property=generation,
                    reason=f"{name} is given, so {generation} has nothing to generate; change the key itself, "
                    f"or drop it to have one generated",
                )
            )
    return found


def uri(inputs: Mapping[str, Any], port: int) -> str:
    """Where clients connect: https with TLS, at the name that the certificate is for.

    The scheme's own port is left out: azureml.accel's examples take what stands after `//` for the host.
    """
    return address(host(inputs), port, ssl_enabled=bool(inputs.get("ssl_enabled")))


def address(host_name: str, port: int, *, ssl_enabled: bool) -> str:
    """`http(s)://HOST[:PORT]` without the port that the scheme has anyway; an IPv6 address in brackets."""
    scheme, usual = ("https", 443) if ssl_enabled else ("http", 80)
    place = f"[{host_name}]" if ":" in host_name else host_name
    return f"{scheme}://{place}" + ("" if port == usual else f":{port}")


def host(inputs: Mapping[str, Any]) -> str:
    """The name or address that clients use for the service; one that listens everywhere is reached from its machine."""
    address = listen_address(inputs)
    return inputs.get("ssl_cname") or EVERYWHERE.get(address, address)


def listen_address(inputs: Mapping[str, Any]) -> str:
    """The address that a service on an edge box listens at."""
    return inputs.get("listen_address") or _DEFAULTS.listen_address


def _taken_alone(inputs: Mapping[str, Any]) -> list[Problem]:
    # What stands before an @ may be a password: the engine would show the value of a property that is named.
    return [
        Problem(property="" if name == "otlp_endpoint" and "@" in inputs[name] else name, reason=reason)
        for name, reason in setting_problems(_DECLARED, inputs).items()
    ]


def _amounts(inputs: Mapping[str, Any]) -> list[Problem]:
    asked = {name: inputs.get(name, getattr(_DEFAULTS, name)) for name in ("max_received_bytes", "max_request_bytes")}
    reason = received_bytes_problem(**asked)
    return [Problem(property="max_received_bytes", reason=reason)] if reason else []


def _who_may_call(inputs: Mapping[str, Any], pending: Collection[str]) -> list[Problem]:
    found = []
    if inputs.get("auth_enabled") and inputs.get("token_auth_enabled"):
        found.append(
            Problem(
                property="token_auth_enabled",
                reason="auth_enabled (keys) and token_auth_enabled exclude each other; leave auth_enabled out, "
                "or set one of them to false",
            )
        )
    tokens = inputs.get("token_auth_enabled") or "token_auth_enabled" in pending
    if inputs.get("token_key_generation", 1) != 1 and not tokens:
        found.append(_needs("token_key_generation", "token_auth_enabled: true"))
    return found


def _encryption(inputs: Mapping[str, Any], pending: Collection[str]) -> list[Problem]:
    if inputs.get("ssl_enabled"):
        # In a cluster the files belong to ServiceAccess, and no address is known that a certificate could be for.
        needed = ("ssl_cname",) if inputs.get("target_kind") == "kubernetes" else SSL_FILES
        return [_needs("ssl_enabled", name) for name in needed if not inputs.get(name) and name not in pending]
    if "ssl_enabled" in pending:
        return []
    extra = [name for name in (*SSL_FILES, "ssl_client_ca_pem_file", "ssl_cname") if inputs.get(name)]
    if not extra:
        return []
    verb = "is" if len(extra) == 1 else "are"
    reason = (
        f"{', '.join(extra)} {verb} given but ssl_enabled is not true, so calls would go unencrypted; "
        "set it to true, or drop the rest"
    )
    return [Problem(property=extra[0], reason=reason)]


def _over_http(inputs: Mapping[str, Any], pending: Collection[str]) -> list[Problem]:
    if "http_enabled" in pending:
        return []
    if not inputs.get("http_enabled"):
        return [_needs("metrics_open", "http_enabled: true")] if inputs.get("metrics_open") else []
    port = inputs.get("port")
    if port is not None and port == inputs.get("http_port"):
        return [
            Problem(property="http_port", reason=f"port and http_port are both {port}; give HTTP a port of its own")
        ]
    return []


def _needs(name: str, other: str) -> Problem:
    return Problem(property=name, reason=f"{name} needs {other}")
