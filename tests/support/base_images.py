"""Small base images in a registry, and small models in a store as if converted, so that pushing takes milliseconds."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from accelform.images import layout
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL
from accelform.images.runtime_layer import fingerprint
from accelform.registry import Connection, Repository, blobs
from accelform.registry.repository import OCI_INDEX, OCI_MANIFEST
from accelform.store import Store, versions

MODEL_BYTES = 400_000
FEATURIZER_BYTES = 1_200_000


def push_base(
    host: str,
    name: str = "team/base",
    *,
    ca_file: str = "",
    architecture: str = "",
    labels: dict[str, str] | None = None,
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"),
) -> str:
    """Push a base with one layer; its reference by digest. By default it has the runtime that is installed here."""
    if labels is None:
        labels = {RUNTIME_LABEL: fingerprint(), PYTHON_LABEL: "3.11"}
    layer = blobs.of_bytes(b"base layer " * 50_000)
    config = blobs.of_bytes(
        layout.encode(
            {
                "architecture": architecture or layout.architecture(),
                "os": "linux",
                "config": {"Env": list(environment), "Cmd": ["bash"], "Labels": labels, "User": "0"},
                "rootfs": {"type": "layers", "diff_ids": [layer.digest]},
            }
        )
    )
    manifest = layout.encode(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(layout.CONFIG_TYPE, config),
            "layers": [descriptor(layout.LAYER_TYPE, layer)],
        }
    )
    digest = blobs.of_bytes(manifest).digest
    with Connection(host, ca_file=ca_file) as connection:
        repository = Repository(connection=connection, name=name)
        for blob in (layer, config):
            repository.push_blob(blob)
        repository.push_manifest(manifest, media_type=OCI_MANIFEST, name=digest)
    return f"{host}/{name}@{digest}"


def push_index(host: str, platforms: dict[str, str], name: str = "team/base") -> str:
    """Push an index of images by architecture ("amd64" -> reference by digest); its reference by digest."""
    with Connection(host) as connection:
        repository = Repository(connection=connection, name=name)
        rows = []
        for machine, reference in platforms.items():
            digest = reference.rpartition("@")[2]
            found = repository.manifest(digest)
            assert found is not None
            platform = {"os": "linux", "architecture": machine}
            rows.append({"mediaType": OCI_MANIFEST, "digest": digest, "size": len(found.content), "platform": platform})
        index = layout.encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows})
        digest = blobs.of_bytes(index).digest
        repository.push_manifest(index, media_type=OCI_INDEX, name=digest)
    return f"{host}/{name}@{digest}"


def descriptor(media_type: str, blob: blobs.Blob) -> dict[str, Any]:
    """OCI's reference to a blob."""
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size_bytes}


def publish_model(folder: Path, *, seed: str = "first", featurizer: str = "", owner: str) -> str:
    """Publish a bundle of random bytes as a converted model in the store at `folder`; its fingerprint.

    With the seed of a `featurizer`, the bundle has that in a large file of its own.
    """
    content = hashlib.shake_256(seed.encode()).digest(MODEL_BYTES)
    files = {"model.onnx": content}
    if featurizer:
        files["fpga.npz"] = hashlib.shake_256(featurizer.encode()).digest(FEATURIZER_BYTES)
    files["bundle.json"] = json.dumps({"files": {name: {} for name in files}}).encode()
    identity = f"sha256:{hashlib.sha256(content).hexdigest()}"
    store = Store.open(str(folder))
    sources = folder.parent / f"bundle-{seed}"
    sources.mkdir(parents=True, exist_ok=True)
    for name, part in files.items():
        (sources / name).write_bytes(part)
    number = versions.allocate(store, "models", "digits.1.accelonnx", owner=owner, digest=identity).version
    versions.publish(
        store,
        "models",
        "digits.1.accelonnx",
        number,
        owner=owner,
        digest=identity,
        files={name: sources / name for name in files},
        properties={},
    )
    return identity
