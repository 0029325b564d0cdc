"""Every setting of a service, declared once: where it listens, who may call, what a call may do, how it lives.

Contracts, stack files, what the server reads in Python and Go, and the tables in docs/ are made from these groups;
`make generate` writes those that are files. A new setting is a line here and a line where it is obeyed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from accelform_runtime.settings.declaring import EDGE, KUBERNETES, setting

ENGINES: Final = ("auto", "onnxruntime", "native")
MEBIBYTE: Final = 1024 * 1024
LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = {"0.0.0.0": LOOPBACK, "::": "::1"}
"""Listen addresses that stand for all of a machine's, and where that machine then reaches itself."""
LOAD_BALANCER_TYPES: Final = ("PublicIp", "InternalLoadBalancer", "NodePort", "ClusterIP")
"""How clients reach a service: Azure ML's two load balancers, and two ways of Kubernetes for clusters without one."""

_AN_HOUR_SECONDS: Final = 3600
_A_DAY_SECONDS: Final = 86_400
_ON_EDGE: Final = (EDGE,)
_IN_CLUSTERS: Final = (KUBERNETES,)


def _address_problem(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return f"must be an IPv4 or IPv6 address, not {text!r}"
    return ""


def _collector_problem(endpoint: str) -> str:
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        if parts.username or parts.password:
            # Not shown: what stands before the @ may be a password.
            return "must not hold a user name or a password"
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:
        usable = False
    return "" if usable else f"must be http://HOST:PORT or https://HOST:PORT, not {endpoint!r}"


@dataclass(frozen=True, kw_only=True)
class Listening:
    """Where a service listens."""

    listen_address: str = setting(
        LOOPBACK,
        "IPv4 or IPv6 address of the machine that calls come in at; 0.0.0.0 or :: for all of them",
        form=_address_problem,
        targets=_ON_EDGE,
        is_late=True,
    )
    port: int = setting(50051, "TCP port of gRPC: on the edge box, or of the service in a cluster", least=1, most=65535)
    http_enabled: bool = setting(
        False, "whether health, metrics, model status and JSON predictions are also there over HTTP"
    )
    http_port: int = setting(8501, "TCP port of HTTP", least=1, most=65535)


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Who may call."""

    auth_enabled: bool | None = setting(None, "whether calls need a key; default true, with token_auth_enabled false")
    token_auth_enabled: bool = setting(False, "whether calls need a signed token that expires; excludes auth_enabled")
    metrics_open: bool = setting(False, "metrics over HTTP need no key")


@dataclass(frozen=True, kw_only=True)
class Computing:
    """What computes, and which model."""

    engine: str = setting(
        "auto", "what computes the model: onnxruntime, native, or auto: native wherever it can", choices=ENGINES
    )
    threads: int = setting(
        0, "threads of the model; 0 takes them from CPU affinity and cgroup quota", least=0, most=4096, is_late=True
    )
    strict_model_spec: bool = setting(
        False,
        "whether calls must name the model, as TensorFlow Serving wants it; otherwise no name means the resident model",
    )
    tensor_content_replies: bool = setting(
        False, "whether replies carry tensor_content instead of typed lists", is_late=True
    )
    model_root: str = setting(
        "",
        "folder of the models that HandleReloadConfigRequest may put onto the FPGA; without it none",
        targets=_ON_EDGE,
    )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one call, one connection and all of them may take."""

    scoring_timeout_ms: int = setting(60_000, "longest time one call may take, waiting included", unit="ms", above=0)
    max_request_wait_time_ms: int = setting(
        500, "longest time a call may wait for the FPGA; 0 leaves it to the call's deadline", unit="ms", least=0
    )
    replica_max_concurrent_requests: int = setting(
        16, "calls a replica holds at once, running and waiting; one more is refused", least=1, most=100_000
    )
    max_request_bytes: int = setting(
        16 * MEBIBYTE,
        "longest message, also after decompression",
        unit="bytes",
        least=1024,
        most=1 << 30,
        is_late=True,
    )
    max_received_bytes: int = setting(
        0,
        "bytes of calls held at once before they wait in line; 0: three times max_request_bytes, at least 32 MiB",
        unit="bytes",
        least=0,
        most=1 << 40,
        is_late=True,
    )
    max_connections: int = setting(
        1024,
        "connections at once, gRPC and HTTP each; for one more the one that was idle longest is closed, else it waits",
        least=1,
        most=1_000_000,
        is_late=True,
    )
    max_concurrent_streams: int = setting(100, "calls at once on one connection", least=1, most=1_000_000, is_late=True)
    handshake_timeout_seconds: float = setting(
        10.0,
        "time from a connection to its end of TLS and HTTP handshake, and for the headers of an HTTP request",
        unit="s",
        least=0.1,
        most=_AN_HOUR_SECONDS,
        is_late=True,
    )
    receive_timeout_seconds: float = setting(
        30.0,
        "time from a call's headers to the end of its message, and for its reply to be read",
        unit="s",
        least=0.1,
        most=_AN_HOUR_SECONDS,
        is_late=True,
    )


@dataclass(frozen=True, kw_only=True)
class Life:
    """How a replica starts, hangs and stops."""

    initial_delay_seconds: float = setting(
        310.0,
        "longest time to load the model and warm up; checks for life start once it is loaded",
        unit="s",
        least=1,
        most=_A_DAY_SECONDS,
        is_late=True,
    )
    hang_timeout_ms: int = setting(
        0,
        "a model that computes one image for longer is killed and started anew; 0: scoring_timeout_ms and five seconds",
        unit="ms",
        least=0,
        is_late=True,
    )
    lame_duck_seconds: float = setting(
        0.0,
        "time after a stop in which calls are still taken while health says NOT_SERVING",
        unit="s",
        least=0,
        most=_AN_HOUR_SECONDS,
    )
    drain_seconds: float = setting(
        5.0, "time that accepted calls then get to finish", unit="s", least=0, most=_AN_HOUR_SECONDS
    )


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """What a service tells."""

    access_log: bool = setting(True, "whether the log has a line for each call", is_late=True)
    otlp_endpoint: str = setting(
        "",
        "http://HOST:PORT or https://HOST:PORT of an OpenTelemetry collector; without it no traces",
        form=_collector_problem,
    )


@dataclass(frozen=True, kw_only=True)
class Serving(Listening, Calling, Computing, Limits, Life, Telemetry):
    """All that a server obeys, on whatever target it runs."""


def received_bytes_problem(max_received_bytes: int, max_request_bytes: int) -> str:
    """Why so little cannot hold messages of that length; "" where it can."""
    least = 3 * max_request_bytes
    if not 0 < max_received_bytes < least:
        return ""
    return (
        f"max_received_bytes must be at least three times max_request_bytes, {least}, or 0 for that; "
        f"it is {max_received_bytes}"
    )


@dataclass(frozen=True, kw_only=True)
class OwnKeys:
    """Keys that a user brings."""

    primary_key: str | None = setting(None, "first key; generated when left out", secret=True)
    secondary_key: str | None = setting(None, "second key; generated when left out", secret=True)


@dataclass(frozen=True, kw_only=True)
class Generations:
    """When keys are made anew, where Pulumi runs."""

    primary_key_generation: int = setting(
        1, "another number generates another first key; the second stays valid", least=1
    )
    secondary_key_generation: int = setting(
        1, "another number generates another second key; the first stays valid", least=1
    )
    token_key_generation: int = setting(
        1,
        "the next number generates another signing key, and tokens of the last one stay valid; others end them",
        least=1,
    )


@dataclass(frozen=True, kw_only=True)
class Keys(OwnKeys, Generations):
    """The keys of calls and tokens."""


@dataclass(frozen=True, kw_only=True)
class Encryption:
    """TLS, from files where Pulumi runs."""

    ssl_enabled: bool = setting(False, "whether calls are encrypted (TLS 1.2 or newer), over gRPC and HTTP")
    ssl_cert_pem_file: str = setting("", "file with the certificate and its chain, where `pulumi` runs")
    ssl_key_pem_file: str = setting(
        "", "file with the certificate's private key, where `pulumi` runs; its content is in no state"
    )
    ssl_cname: str = setting("", f"name that clients use and the certificate is for; default {LOOPBACK}")
    ssl_client_ca_pem_file: str = setting(
        "", "file with the authorities whose client certificates are accepted; clients then need one"
    )


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How many replicas, one FPGA each (AksWebservice's rules)."""

    num_replicas: int | None = setting(None, "replicas, one FPGA each; default 1", above=0)
    autoscale_enabled: bool | None = setting(None, "scale by load; excludes num_replicas")
    autoscale_min_replicas: int | None = setting(None, "fewest replicas", above=0)
    autoscale_max_replicas: int | None = setting(None, "most replicas", above=0)
    autoscale_refresh_seconds: int | None = setting(None, "time between looks", unit="s", above=0)
    autoscale_target_utilization: int | None = setting(None, "load to aim at", unit="%", least=1, most=100)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How long a deployment waits."""

    deployment_timeout_seconds: int = setting(120, "longest time to wait for SERVING", unit="s", above=0)


@dataclass(frozen=True, kw_only=True)
class Pods:
    """What a replica in a cluster gets; the defaults are AksWebservice's (azureml-core 1.61)."""

    cpu_cores: float = setting(
        0.1, "processor time that each pod is sure of", unit="cores", above=0, targets=_IN_CLUSTERS
    )
    cpu_cores_limit: float | None = setting(
        None, "most processor time of a pod", unit="cores", above=0, targets=_IN_CLUSTERS
    )
    memory_gb: float = setting(0.5, "memory that each pod is sure of, in GiB", unit="GB", above=0, targets=_IN_CLUSTERS)
    memory_gb_limit: float | None = setting(
        None, "most memory of a pod, in GiB", unit="GB", above=0, targets=_IN_CLUSTERS
    )
    period_seconds: int = setting(10, "time between two health checks", unit="s", least=1, targets=_IN_CLUSTERS)
    timeout_seconds: int = setting(2, "time that a health check may take", unit="s", least=1, targets=_IN_CLUSTERS)
    success_threshold: int = setting(1, "checks in a row until a replica is ready", least=1, targets=_IN_CLUSTERS)
    failure_threshold: int = setting(
        3,
        "failed checks in a row after which a replica gets no calls, or is started again",
        least=1,
        targets=_IN_CLUSTERS,
    )


@dataclass(frozen=True, kw_only=True)
class Address:
    """How clients reach a service in a cluster."""

    load_balancer_type: str | None = setting(
        None,
        f"{', '.join(LOAD_BALANCER_TYPES[:-1])} or {LOAD_BALANCER_TYPES[-1]}; default the target's",
        choices=LOAD_BALANCER_TYPES,
        targets=_IN_CLUSTERS,
    )


@dataclass(frozen=True, kw_only=True)
class Service(Scaling, Serving, Keys, Encryption, Rollout, Address, Pods):
    """All that can be said of a service, on whatever target it runs."""
