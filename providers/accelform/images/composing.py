"""Layers on top of a base image: the configuration and manifest of the result, without touching what is below.

Pure: equal inputs give equal bytes. Sources: image-spec 1.1 ("Image Configuration", "Image Manifest"), and its
annotations `org.opencontainers.image.base.*`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from accelform.errors import BaseImageUnusable
from accelform.images import layout
from accelform.images.layout import Descriptor
from accelform.plans.cluster_names import USER_ID
from accelform.registry.blobs import Blob

RUNTIME_LABEL = "dev.accelform.runtime.fingerprint"
"""On a base image: which runtime is in it already."""
PYTHON_LABEL = "dev.accelform.python"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER = f"{USER_ID}:{USER_ID}"
_OCI_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar": layout.LAYER_TYPE,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{layout.LAYER_TYPE}+gzip",
}
"""Docker's layer types, which are byte for byte OCI's under another name."""
_OF_THE_BASE_ONLY = ("Cmd", "Healthcheck", "ArgsEscaped", "OnBuild", "Shell")


@dataclass(frozen=True, kw_only=True)
class Base:
    """What an image stands on: its layers in order, and its configuration document. Empty: `SCRATCH`."""

    layers: tuple[Descriptor, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    reference: str = ""

    @property
    def labels(self) -> dict[str, str]:
        return dict(_section(self.config, "config").get("Labels") or {})

    @property
    def environment(self) -> dict[str, str]:
        entries = _section(self.config, "config").get("Env") or ()
        return dict(str(entry).split("=", 1) for entry in entries if "=" in str(entry))


SCRATCH = Base()


@dataclass(frozen=True, kw_only=True)
class NewLayer:
    """A layer to put on top: how it is stored, the digest of its plain tar, and a line for the history."""

    descriptor: Descriptor
    diff_id: str
    description: str
    blob: Blob


@dataclass(frozen=True, kw_only=True)
class Composed:
    """An image ready to be stored: documents as bytes, and every layer from the bottom up."""

    base: Base
    new_layers: tuple[NewLayer, ...]
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The manifest's, which is the image's."""
        return layout.describe(layout.MANIFEST_TYPE, self.manifest).digest

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        return (*self.base.layers, *(layer.descriptor for layer in self.new_layers))


def plain_layer(blob: Blob, description: str) -> NewLayer:
    """An uncompressed layer, whose digest is that of its tar."""
    descriptor = Descriptor(media_type=layout.LAYER_TYPE, digest=blob.digest, size_bytes=blob.size_bytes)
    return NewLayer(descriptor=descriptor, diff_id=blob.digest, description=description, blob=blob)


def compose(
    base: Base,
    new_layers: Sequence[NewLayer],
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    python_path: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    user: str = USER,
) -> Composed:
    """`new_layers` on `base`, which serves as `user` ("": whoever runs it) and is started as accelform_runtime.server.

    Of the base its environment and labels stay, under the new ones; what it would run does not. Raises
    BaseImageUnusable where its documents do not fit each other, or a layer may not be copied.
    """
    further = {"PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1", **environment}
    config = layout.encode(_configuration(base, new_layers, labels=labels, environment=further, user=user))
    layers = [*_oci(base), *(layer.descriptor for layer in new_layers)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": layout.MANIFEST_TYPE,
        "config": layout.describe(layout.CONFIG_TYPE, config).document(),
        "layers": [layer.document() for layer in layers],
        "annotations": {**_base_annotations(base), **annotations},
    }
    return Composed(base=base, new_layers=tuple(new_layers), config=config, manifest=layout.encode(manifest))


def _configuration(
    base: Base,
    new_layers: Sequence[NewLayer],
    *,
    labels: Mapping[str, str],
    environment: Mapping[str, str],
    user: str,
) -> dict[str, Any]:
    document = copy.deepcopy(dict(base.config))
    below = list(_section(document, "rootfs").get("diff_ids") or ())
    if len(below) != len(base.layers):
        raise BaseImageUnusable(
            f"cannot use the base image {base.reference}: its configuration tells of {len(below)} layers and its "
            f"manifest of {len(base.layers)}. Build and push it again."
        )
    running = {key: value for key, value in _section(document, "config").items() if key not in _OF_THE_BASE_ONLY}
    environment = {"PATH": DEFAULT_PATH, **base.environment, **environment}
    history = [{"created": layout.CREATED, "created_by": layer.description} for layer in new_layers]
    return {
        **{key: document[key] for key in ("architecture", "os", "os.version", "variant") if key in document},
        **({} if document else {"architecture": layout.architecture(), "os": "linux"}),
        "created": layout.CREATED,
        "config": {
            **running,
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": list(layout.ENTRYPOINT),
            "Labels": {**base.labels, **labels},
            **({"User": user} if user else {}),
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [*below, *(layer.diff_id for layer in new_layers)]},
        "history": [*_history(document, len(below)), *history],
    }


def _history(document: Mapping[str, Any], layers: int) -> list[Any]:
    """The base's history where it fits its layers, else one nameless entry for each."""
    given = document.get("history")
    rows = given if isinstance(given, list) else []
    if sum(not (isinstance(row, dict) and row.get("empty_layer")) for row in rows) == layers:
        return rows
    return [{"created": layout.CREATED}] * layers


def _oci(base: Base) -> list[Descriptor]:
    found = []
    for layer in base.layers:
        media_type = _OCI_LAYERS.get(layer.media_type, layer.media_type)
        if not media_type.startswith(layout.LAYER_TYPE):
            raise BaseImageUnusable(
                f"cannot use the base image {base.reference}: its layer {layer.digest} is of type {layer.media_type}, "
                "which may not be copied. Use a base of plain OCI or Docker layers."
            )
        found.append(Descriptor(media_type=media_type, digest=layer.digest, size_bytes=layer.size_bytes))
    return found


def _base_annotations(base: Base) -> dict[str, str]:
    if not base.reference:
        return {}
    name, _, digest = base.reference.partition("@")
    return {
        "org.opencontainers.image.base.name": name,
        **({"org.opencontainers.image.base.digest": digest} if digest else {}),
    }


def _section(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}
