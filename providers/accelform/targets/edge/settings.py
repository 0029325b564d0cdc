"""From the wished service to the release that a box remembers, and from there to the settings of its server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelform.targets.edge.access import AccessFiles
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.records import Release, ServiceRecord
from accelform.targets.edge.state import ServiceSpec

if TYPE_CHECKING:
    from accelform_runtime.server.config import ServiceConfig


def release_of(spec: ServiceSpec, *, fpga: int) -> Release:
    """How `spec` runs on the FPGA with that index, its files in the first slot."""
    return Release(
        image_location=spec.image_location,
        image_digest=spec.image_digest,
        fpga=fpga,
        listen_address=spec.listen_address,
        port=spec.port,
        auth_enabled=spec.auth_enabled,
        scoring_timeout_ms=spec.scoring_timeout_ms,
        max_request_wait_time_ms=spec.max_request_wait_time_ms,
        max_queue=spec.max_queue,
        drain_seconds=spec.drain_seconds,
        threads=spec.threads,
        keys_slot="a",
        token_auth_enabled=spec.token_auth_enabled,
        ssl_enabled=spec.tls is not None,
        ssl_client_ca=bool(spec.tls and spec.tls.client_ca),
        http_enabled=spec.http_enabled,
        http_port=spec.http_port if spec.http_enabled else 0,
        metrics_open=spec.metrics_open,
        engine=spec.engine,
        strict_model_spec=spec.strict_model_spec,
        model_root=spec.model_root,
        lame_duck_seconds=spec.lame_duck_seconds,
        otlp_endpoint=spec.otlp_endpoint,
    )


def server_config(layout: Layout, record: ServiceRecord) -> ServiceConfig:
    """The settings with which the server of the record's release starts."""
    from accelform_runtime.server.config import ServiceConfig

    release = record.release
    access = AccessFiles.of(layout, record.name, release)
    return ServiceConfig(
        name=record.name,
        listen_address=release.listen_address,
        port=release.port,
        http_enabled=release.http_enabled,
        http_port=release.http_port,
        auth_enabled=release.auth_enabled,
        keys_file=access.keys,
        token_auth_enabled=release.token_auth_enabled,
        token_keys_file=access.token_keys,
        metrics_open=release.metrics_open,
        ssl_cert_pem_file=access.tls,
        ssl_key_pem_file=access.tls,
        ssl_client_ca_pem_file=access.client_ca,
        device_lock_file=str(layout.device_lock(release.fpga)),
        image=release.image_location,
        threads=release.threads,
        engine=release.engine,
        model_root=release.model_root,
        strict_model_spec=release.strict_model_spec,
        max_queue=release.max_queue,
        max_request_wait_time_ms=release.max_request_wait_time_ms,
        scoring_timeout_ms=release.scoring_timeout_ms,
        lame_duck_seconds=release.lame_duck_seconds,
        drain_seconds=release.drain_seconds,
        otlp_endpoint=release.otlp_endpoint,
    )
