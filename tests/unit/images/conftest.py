"""A local store with a small, real layer in it, so that building an image takes milliseconds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform.images import oci
from accelform.images.archive import LayerFile, tar_stream
from accelform.images.runtime_layer import LayerRef
from accelform.store import Store, versions


def small_layer(store: Store, folder: Path) -> LayerRef:
    """A layer with two files, packed once per store as the runtime layer is."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "server.py").write_text("print('serving')\n")
    (folder / "LICENSE").write_text("Apache-2.0\n")
    files = [LayerFile(name=f"opt/accelform/{name}", source=folder / name) for name in ("server.py", "LICENSE")]
    layer = b"".join(tar_stream(files))
    if not store.exists("layers/small/layer.tar"):
        store.put("layers/small/layer.tar", layer)
    return LayerRef(
        key="layers/small/layer.tar",
        digest=f"sha256:{hashlib.sha256(layer).hexdigest()}",
        size_bytes=len(layer),
        fingerprint="sha256:" + "0" * 64,
        description="a small runtime",
    )


@pytest.fixture(name="small_layer")
def small_layer_fixture() -> Callable[[Store, Path], LayerRef]:
    return small_layer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"))


@pytest.fixture
def model_files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name, content in (("model.onnx", bytes(range(256)) * 50_000), ("bundle.json", b"{}"), ("report.json", b"[]")):
        (folder / name).write_bytes(content)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture
def build(store: Store, model_files: dict[str, Path], tmp_path: Path) -> Callable[[], oci.ImageRef]:
    """Allocates the next version of the image "digits", builds it and returns it."""

    def build_next() -> oci.ImageRef:
        layer = small_layer(store, tmp_path / "runtime")
        owner = "shop/edge/image"
        allocation = versions.allocate(store, "images", "digits", owner=owner, digest="sha256:" + "a" * 64)
        image = oci.build_image(
            store, name="digits", version=allocation.version, model_files=model_files, runtime_layer=layer
        )
        versions.publish(
            store,
            "images",
            "digits",
            allocation.version,
            owner=owner,
            digest="sha256:" + "a" * 64,
            files={},
            stored_files=image.files,
            properties={},
        )
        return image

    return build_next
