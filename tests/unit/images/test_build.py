"""Built images: valid OCI layouts, equal bytes for equal content, independent of each other."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelform.errors import InternalError, ObjectMissing, StoreLocationError
from accelform.images import layout, oci
from accelform.images.runtime_layer import LayerRef
from accelform.store import Store, versions
from accelform_runtime.device.bundle import DIGEST_VARIABLE

MakeLayer = Callable[[Store, Path], LayerRef]


def validate_layout(root: Path, *, reference_name: str) -> dict[str, Any]:
    """Checks a folder against the OCI image-spec 1.1 and returns the image's configuration."""
    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((root / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    (entry,) = index["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == reference_name
    referenced = set()

    def blob(descriptor: dict[str, Any], media_type: str) -> bytes:
        assert descriptor["mediaType"] == media_type
        algorithm, _, digest = descriptor["digest"].partition(":")
        content = (root / "blobs" / algorithm / digest).read_bytes()
        assert hashlib.sha256(content).hexdigest() == digest
        assert len(content) == descriptor["size"]
        referenced.add(digest)
        return content

    manifest = json.loads(blob(entry, "application/vnd.oci.image.manifest.v1+json"))
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, entry["mediaType"])
    config: dict[str, Any] = json.loads(blob(manifest["config"], "application/vnd.oci.image.config.v1+json"))
    diff_ids = [
        f"sha256:{hashlib.sha256(blob(layer, 'application/vnd.oci.image.layer.v1.tar')).hexdigest()}"
        for layer in manifest["layers"]
    ]
    assert config["rootfs"] == {"type": "layers", "diff_ids": diff_ids}
    assert len(config["history"]) == len(diff_ids)
    assert (config["os"], config["architecture"]) == ("linux", entry["platform"]["architecture"])
    assert referenced == {path.name for path in (root / "blobs/sha256").iterdir()}
    return config


def test_an_image_is_a_valid_oci_layout(store: Store, build: Callable[[], oci.ImageRef]) -> None:
    """The version's folder can be read by any OCI tool; the service starts from the image's own content."""
    image = build()
    assert store.root is not None

    config = validate_layout(store.root / "images/digits/1", reference_name="1")

    assert config["config"]["Entrypoint"] == ["python3", "-m", "accelform_runtime.server"]
    assert "PYTHONPATH=/opt/accelform" in config["config"]["Env"]
    assert config["config"]["Labels"] == {"org.opencontainers.image.title": "digits"}
    assert image.location == f"{store.url}/images/digits/1@{image.digest}"
    assert oci.exists(store, image.location)


def test_the_images_digest_covers_the_models_description(
    store: Store, build: Callable[[], oci.ImageRef], model_files: dict[str, Path]
) -> None:
    """The configuration says its sha256, which the server compares: other labels are another image's."""
    build()
    assert store.root is not None

    config = validate_layout(store.root / "images/digits/1", reference_name="1")

    digest = hashlib.sha256(model_files["bundle.json"].read_bytes()).hexdigest()
    assert f"{DIGEST_VARIABLE}={digest}" in config["config"]["Env"]


def test_the_manifest_of_the_version_covers_every_file(store: Store, build: Callable[[], oci.ImageRef]) -> None:
    """What building reports is what lies there: publishing it makes every blob verifiable."""
    image = build()
    manifest = versions.read_manifest(store, "images", "digits", 1)

    assert versions.verify(store, manifest, content=True) == []
    in_store = {key.removeprefix("images/digits/1/") for key in store.list("images/digits/1")}
    assert {file.name for file in image.files} == in_store - {"manifest.json", "reservation.json"}


def test_two_builds_from_two_folders_are_byte_identical(
    model_files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_layer: MakeLayer
) -> None:
    """Folder, file times, file modes, umask and order do not reach the image."""
    trees = []
    for number, (folder, mode, time_seconds) in enumerate(
        (("first", 0o600, 1), ("second/below", 0o755, 2_000_000_000))
    ):
        sources = tmp_path / folder
        sources.mkdir(parents=True)
        names = sorted(model_files, reverse=bool(number))
        for name in names:
            (sources / name).write_bytes(model_files[name].read_bytes())
            (sources / name).chmod(mode)
            os.utime(sources / name, (time_seconds, time_seconds))
        monkeypatch.chdir(sources)
        store = Store.open(str(tmp_path / f"store-{number}"))
        oci.build_image(
            store,
            name="digits",
            version=1,
            model_files={name: sources / name for name in names},
            runtime_layer=small_layer(store, tmp_path / f"runtime-{number}"),
        )
        trees.append({key: store.get(key) for key in store.list("images")})

    assert trees[0] == trees[1]
    assert len(trees[0]) == 7


def test_the_digest_follows_the_content_and_not_the_version(
    store: Store, build: Callable[[], oci.ImageRef], model_files: dict[str, Path]
) -> None:
    """An equal image under another version has the same digest; one changed byte gives another."""
    first, second = build(), build()
    content = bytearray(model_files["model.onnx"].read_bytes())
    content[0] ^= 1
    model_files["model.onnx"].write_bytes(content)
    third = build()

    assert first.digest == second.digest
    assert first.location != second.location
    assert third.digest != first.digest


@pytest.mark.parametrize(
    ("machine", "digest"),
    [
        ("x86_64", "sha256:4736ab42c605f3bdd9d733909d1a7a4d783e73aa29289b88dfce938de642bbd5"),
        ("aarch64", "sha256:6053ee9e0d81a0c20f00c2c000e5e2750915d3a52d42f443ca344e704bba0b50"),
    ],
)
def test_the_digest_is_what_it_always_was(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, digest: str
) -> None:
    """An image that is built again after an update of Accelform is the one that is deployed."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    store.put("layers/r/layer.tar", b"runtime")
    layer = LayerRef(
        key="layers/r/layer.tar",
        digest=f"sha256:{hashlib.sha256(b'runtime').hexdigest()}",
        size_bytes=7,
        fingerprint="sha256:0",
        description="a runtime",
    )
    for name, content in (("model.onnx", b"model"), ("bundle.json", b"{}")):
        (tmp_path / name).write_bytes(content)
    files = {name: tmp_path / name for name in ("model.onnx", "bundle.json")}
    labels = {"accelform.model": "digits:1"}

    image = oci.build_image(store, name="digits", version=3, model_files=files, runtime_layer=layer, labels=labels)

    assert image.digest == digest


def test_labels_become_labels_and_annotations(
    store: Store, model_files: dict[str, Path], tmp_path: Path, small_layer: MakeLayer
) -> None:
    """Given labels stand in the configuration and on the manifest."""
    image = oci.build_image(
        store,
        name="digits",
        version=1,
        model_files=model_files,
        runtime_layer=small_layer(store, tmp_path / "runtime"),
        labels={"org.opencontainers.image.description": "digits, 8 × 8", "accelform.model": "digits:1"},
    )
    manifest = json.loads(store.get(f"images/digits/1/{layout.blob_name(image.digest)}"))
    config = json.loads(store.get(f"images/digits/1/{layout.blob_name(manifest['config']['digest'])}"))

    assert manifest["annotations"] == config["config"]["Labels"]
    assert manifest["annotations"]["org.opencontainers.image.description"] == "digits, 8 × 8"
    assert manifest["annotations"]["accelform.model"] == "digits:1"


def test_the_build_log_tells_the_layers(store: Store, build: Callable[[], oci.ImageRef]) -> None:
    """The log lies beside the layout and names both layers and the digest."""
    image = build()

    assert image.build_log_url == store.url_of("images/digits/1/build.log")
    assert store.get("images/digits/1/build.log").decode() == image.build_log
    assert image.digest in image.build_log
    assert "layer 1/2" in image.build_log
    assert "bundle.json, model.onnx, report.json" in image.build_log


def test_deleting_one_image_leaves_the_others(store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path) -> None:
    """Images share the runtime layer's bytes, yet withdrawing one, or dropping the cached layer, harms no other."""
    build()
    second = build()
    runtime = store.list("layers")[0]
    assert store.root is not None
    layer_blobs = [
        key for key in store.list("images") if "/blobs/" in key and (store.root / key).samefile(store.root / runtime)
    ]
    assert len(layer_blobs) == 2

    versions.withdraw(store, "images", "digits", 1, owner="shop/edge/image")
    store.delete_prefix("layers")

    assert not any("/blobs/" in key for key in store.list("images/digits/1"))
    assert oci.unpack(store, second.location, tmp_path / "unpacked").digest == second.digest


def test_building_again_repairs_damaged_blobs(
    store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path, small_layer: MakeLayer
) -> None:
    """Every blob is written again under the same number, whatever lies there."""
    image = build()
    expected = {key: store.get(key) for key in store.list("images/digits/1/blobs")}
    for key in expected:
        store.put(key, b"rubbish")
    layer = small_layer(store, tmp_path / "runtime")
    model_files = {path.name: path for path in (tmp_path / "bundle").iterdir()}

    again = oci.build_image(store, name="digits", version=1, model_files=model_files, runtime_layer=layer)

    assert again == image
    assert {key: store.get(key) for key in store.list("images/digits/1/blobs")} == expected


def test_layers_hold_plain_files_only(store: Store, build: Callable[[], oci.ImageRef]) -> None:
    """Owner 0, time 0, modes 0644 and 0755, sorted names, parent folders first."""
    build()
    assert store.root is not None
    manifest = json.loads((store.root / "images/digits/1/index.json").read_bytes())["manifests"][0]["digest"]
    layers = json.loads(store.get(f"images/digits/1/{layout.blob_name(manifest)}"))["layers"]

    with tarfile.open(store.root / "images/digits/1" / layout.blob_name(layers[1]["digest"])) as tar:
        members = tar.getmembers()

    assert [(member.name, oct(member.mode), member.isdir()) for member in members] == [
        ("model", "0o755", True),
        ("model/bundle.json", "0o644", False),
        ("model/model.onnx", "0o644", False),
        ("model/report.json", "0o644", False),
    ]
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {
        (0, 0, 0, "", "")
    }


def test_what_cannot_be_built_is_refused(
    store: Store, model_files: dict[str, Path], tmp_path: Path, small_layer: MakeLayer
) -> None:
    """No model, a name that leaves /model, a missing file or a missing runtime layer: an error and no index.json."""
    layer = small_layer(store, tmp_path / "runtime")

    def attempt(files: dict[str, Path]) -> None:
        oci.build_image(store, name="digits", version=1, model_files=files, runtime_layer=layer)

    with pytest.raises(StoreLocationError, match="no model files"):
        attempt({})
    with pytest.raises(StoreLocationError, match="as a key"):
        attempt({"../etc/passwd": model_files["model.onnx"]})
    with pytest.raises(InternalError, match="source cannot be read"):
        attempt({"model.onnx": tmp_path / "missing"})
    store.delete_prefix("layers")
    with pytest.raises(ObjectMissing, match="cannot copy"):
        attempt(model_files)
    assert not any(key.endswith("index.json") for key in store.list("images"))


def test_long_and_foreign_file_names_stay_reproducible(store: Store, tmp_path: Path, small_layer: MakeLayer) -> None:
    """A name too long for the classic tar header takes the pax form, equal every time."""
    name = "/".join(["folder-with-a-long-name-" + "x" * 60] * 4) + "/weights.bin"
    (tmp_path / "weights").write_bytes(b"w")
    layer = small_layer(store, tmp_path / "runtime")
    digests = {
        oci.build_image(
            store, name="deep", version=version, model_files={name: tmp_path / "weights"}, runtime_layer=layer
        ).digest
        for version in (1, 2)
    }
    location = f"{store.url}/images/deep/1@{digests.copy().pop()}"

    assert len(digests) == 1
    assert (oci.unpack(store, location, tmp_path / "out").rootfs / "model" / name).read_bytes() == b"w"
