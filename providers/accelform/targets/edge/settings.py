"""From the wished service to the release that a box remembers, and from there to the settings of its server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from accelform.targets.edge.access import AccessFiles
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.records import Release, ServiceRecord
from accelform.targets.edge.state import ServiceSpec
from accelform_runtime.settings import Serving

if TYPE_CHECKING:
    from accelform_runtime.server.config import ServiceConfig


def release_of(spec: ServiceSpec, *, fpga: int) -> Release:
    """How `spec` runs on the FPGA with that index, its files in the first slot."""
    serving = spec.serving
    if not serving.http_enabled:
        # A port that nobody listens on makes no other process.
        serving = replace(serving, http_port=Serving().http_port)
    return Release(
        image_location=spec.image_location,
        image_digest=spec.image_digest,
        fpga=fpga,
        keys_slot="a",
        serving=serving,
        ssl_enabled=spec.tls is not None,
        ssl_client_ca=bool(spec.tls and spec.tls.client_ca),
    )


def server_config(layout: Layout, record: ServiceRecord) -> ServiceConfig:
    """The settings with which the server of the record's release starts."""
    from accelform_runtime.server.config import ServiceConfig

    release = record.release
    access = AccessFiles.of(layout, record.name, release)
    return ServiceConfig(
        **{
            **vars(release.serving),
            "name": record.name,
            "keys_file": access.keys,
            "token_keys_file": access.token_keys,
            "ssl_cert_pem_file": access.tls,
            "ssl_key_pem_file": access.tls,
            "ssl_client_ca_pem_file": access.client_ca,
            "device_lock_file": str(layout.device_lock(release.fpga)),
            "image": release.image_location,
        }
    )
