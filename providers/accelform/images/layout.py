"""The JSON documents of an OCI image layout (image-spec 1.1) and the location that names an image."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from accelform.errors import StoreLocationError

OCI_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
REFERENCE_NAME = "org.opencontainers.image.ref.name"
ENTRYPOINT = ("python3", "-m", "accelform_runtime.server")
MODEL_FOLDER = "model"
CREATED = "1970-01-01T00:00:00Z"
"""The creation time in every image, so that equal content gives equal digests; umoci fails where it is left out."""

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_LOCATION = re.compile(r"(?P<url>.+)/images/(?P<name>[^/@]+)/(?P<version>[1-9][0-9]*)@(?P<digest>sha256:[0-9a-f]{64})")


@dataclass(frozen=True, kw_only=True)
class ImageLocation:
    """``<store url>/images/<name>/<version>@sha256:<manifest digest>``, taken apart."""

    store_url: str
    name: str
    version: int
    digest: str

    def __str__(self) -> str:
        return f"{self.store_url.rstrip('/')}/images/{self.name}/{self.version}@{self.digest}"


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """OCI's reference to a blob: media type, digest ("sha256:..."), size in bytes."""

    media_type: str
    digest: str
    size_bytes: int

    def document(self) -> dict[str, Any]:
        """The descriptor as OCI writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}


def parse_location(location: str) -> ImageLocation:
    """Take an image location apart. Raises StoreLocationError."""
    found = _LOCATION.fullmatch(location)
    if not found:
        raise StoreLocationError(
            f"cannot use {location[:300]!r} as an image location: it must read "
            "<store url>/images/<name>/<version>@sha256:<64 hex digits>. Take the image_location output of an Image."
        )
    return ImageLocation(
        store_url=found["url"], name=found["name"], version=int(found["version"]), digest=found["digest"]
    )


def architecture() -> str:
    """This machine's architecture in Go's words, as OCI wants it ("amd64", "arm64")."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def index_document(manifest: Descriptor, *, reference_name: str) -> dict[str, Any]:
    """The layout's index.json with one image under one reference name."""
    platform_document = {"architecture": architecture(), "os": "linux"}
    entry = {
        **manifest.document(),
        "platform": platform_document,
        "annotations": {REFERENCE_NAME: reference_name},
    }
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [entry]}


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON in one form only: sorted keys, no spaces, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def describe(media_type: str, content: bytes) -> Descriptor:
    """The descriptor of a blob."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return Descriptor(media_type=media_type, digest=digest, size_bytes=len(content))


def blob_name(digest: str) -> str:
    """Where a layout keeps the blob."""
    return f"blobs/{digest.replace(':', '/')}"
