"""A base image in a registry: read, checked for this machine and its Python, and what of the runtime it lacks."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from collections.abc import Mapping
from typing import Any

from accelform.errors import BaseImageUnusable
from accelform.images import layout
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL, Base, NewLayer, plain_layer
from accelform.images.layout import Descriptor
from accelform.images.runtime_layer import LAYER_FOLDER
from accelform.registry.blobs import of_bytes
from accelform.registry.reference import Reference
from accelform.registry.repository import DOCKER_INDEX, OCI_INDEX, Manifest, Repository, decode

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
"""What the runtime layer's packages are built for."""
_PYTHON_VERSION = re.compile(r"(\d+\.\d+)(\..*)?")


def read_base(repository: Repository, reference: Reference) -> Base:
    """The base image of this machine's architecture under `reference`; of an index, the one that fits.

    Raises BaseImageUnusable where it is missing, for another machine or with another Python, ImageCorrupt, and the
    registry's errors.
    """
    manifest = _manifest(repository, reference, reference.name)
    if manifest.media_type in (OCI_INDEX, DOCKER_INDEX) or "manifests" in manifest.document():
        manifest = _manifest(repository, reference, _fitting(manifest.document(), reference))
    document = manifest.document()
    config = document.get("config")
    layers = document.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list):
        raise _unusable(reference, "it is no image but something else that a registry keeps")
    configuration = decode(repository.read_blob(str(config.get("digest"))), f"the configuration of {reference}")
    base = Base(
        layers=tuple(_descriptor(layer, reference) for layer in layers),
        config=configuration,
        reference=str(reference),
    )
    _check(base, reference)
    return base


def runtime_layers(base: Base, *, fingerprint: str, runtime: NewLayer) -> tuple[NewLayer, ...]:
    """What of the runtime is to be put on `base`: nothing where it is there, else the layer, in place of another one.

    Layers lie over each other, so a runtime of other versions below would mix its files in.
    """
    there = base.labels.get(RUNTIME_LABEL)
    if there == fingerprint:
        return ()
    return (runtime,) if there is None else (_without_runtime(), runtime)


def _without_runtime() -> NewLayer:
    """A layer in which the folder of the runtime below is deleted (image-spec 1.1, "Whiteouts")."""
    parent, _, name = LAYER_FOLDER.rpartition("/")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(tarfile.TarInfo(f"{parent}/.wh.{name}"))
    return plain_layer(of_bytes(content.getvalue()), "without the runtime below")


def _manifest(repository: Repository, reference: Reference, name: str) -> Manifest:
    found = repository.manifest(name)
    if found is None:
        raise BaseImageUnusable(
            f"cannot use the base image {reference}: there is no {name} in {repository.address}. "
            "Push it there, or correct base_image."
        )
    return found


def _fitting(index: Mapping[str, Any], reference: Reference) -> str:
    rows = [row for row in index.get("manifests") or () if isinstance(row, dict)]
    platforms = {}
    for row in rows:
        platform = row.get("platform")
        if isinstance(platform, dict):
            platforms[f"{platform.get('os', '?')}/{platform.get('architecture', '?')}"] = str(row.get("digest"))
    wanted = f"linux/{layout.architecture()}"
    if wanted not in platforms:
        offered = ", ".join(sorted(name for name in platforms if "unknown" not in name)) or "none"
        raise _unusable(reference, f"it is for {offered}, and the runtime here is for {wanted}")
    return platforms[wanted]


def _check(base: Base, reference: Reference) -> None:
    system, machine = base.config.get("os"), base.config.get("architecture")
    if (system, machine) != ("linux", layout.architecture()):
        wanted = f"linux/{layout.architecture()}"
        raise _unusable(reference, f"it is for {system}/{machine}, and the runtime here is for {wanted}")
    # Official Python images say their version in PYTHON_VERSION (docker-library/python), our own bases in a label.
    told = base.labels.get(PYTHON_LABEL) or base.environment.get("PYTHON_VERSION") or ""
    found = _PYTHON_VERSION.fullmatch(told)
    if found and found[1] != PYTHON:
        raise _unusable(reference, f"it has Python {found[1]}, and the runtime here is for {PYTHON}")


def _descriptor(layer: Any, reference: Reference) -> Descriptor:
    if not isinstance(layer, dict) or not isinstance(layer.get("size"), int):
        raise _unusable(reference, "its manifest has a layer without a size")
    return Descriptor(media_type=str(layer.get("mediaType")), digest=str(layer.get("digest")), size_bytes=layer["size"])


def _unusable(reference: Reference, why: str) -> BaseImageUnusable:
    return BaseImageUnusable(
        f"cannot use the base image {reference}: {why}. Take a base for this machine with Python {PYTHON}, such as "
        "what `accelform base-image build` makes here."
    )
