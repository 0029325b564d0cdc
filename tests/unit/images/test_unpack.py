"""Unpacking: all digests right or nothing there, and nothing ever outside the target."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from accelform.errors import ImageCorrupt, ObjectMissing, StoreLocationError
from accelform.images import archive, layout, oci
from accelform.images.composing import SCRATCH, NewLayer, compose
from accelform.registry import blobs
from accelform.store import Store


def every_path(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def blob_key(digest: str) -> str:
    return f"images/digits/1/{layout.blob_name(digest)}"


def read_manifest(store: Store, image: oci.ImageRef) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(store.get(blob_key(image.digest)))
    return document


def image_of(store: Store, layer: bytes, *, layer_type: str = layout.LAYER_TYPE) -> str:
    """Puts an image with one given layer into the store, all digests right, and returns its location."""

    def keep(media_type: str, content: bytes) -> layout.Descriptor:
        descriptor = layout.describe(media_type, content)
        store.put(blob_key(descriptor.digest), content)
        return descriptor

    descriptor = keep(layer_type, layer)
    content = blobs.of_bytes(layer)
    new_layer = NewLayer(descriptor=descriptor, diff_id=content.digest, description="a layer", blob=content)
    image = compose(SCRATCH, [new_layer], labels={}, annotations={}, python_path="/opt")
    keep(layout.CONFIG_TYPE, image.config)
    manifest = keep(layout.MANIFEST_TYPE, image.manifest)
    return f"{store.url}/images/digits/1@{manifest.digest}"


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def test_unpacked_content_equals_what_was_packed(
    store: Store, build: Callable[[], oci.ImageRef], model_files: dict[str, Path], tmp_path: Path
) -> None:
    """The root file system holds the runtime and the model; the description tells how to start it."""
    image = build()
    target = tmp_path / "box" / "digits"

    unpacked = oci.unpack(store, image.location, target)

    assert every_path(target / "rootfs") == [
        "model",
        "model/bundle.json",
        "model/model.onnx",
        "model/report.json",
        "opt",
        "opt/accelform",
        "opt/accelform/LICENSE",
        "opt/accelform/server.py",
    ]
    for name, path in model_files.items():
        assert (target / "rootfs/model" / name).read_bytes() == path.read_bytes()
    assert unpacked == oci.unpacked(target)
    assert (unpacked.digest, unpacked.rootfs) == (image.digest, target / "rootfs")
    assert unpacked.entrypoint == layout.ENTRYPOINT
    assert unpacked.environment["PYTHONPATH"] == "/opt/accelform"
    assert [path.name for path in target.parent.iterdir()] == ["digits"]


def test_unpacking_again_is_free_and_other_content_is_refused(
    store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path
) -> None:
    """A target with this image is taken as it is; one with anything else is never overwritten."""
    image = build()
    first = oci.unpack(store, image.location, tmp_path / "target")
    store.delete_prefix("images")
    assert oci.unpack(store, image.location, tmp_path / "target") == first

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("precious")
    with pytest.raises(StoreLocationError, match="holds something else"):
        oci.unpack(store, image.location, tmp_path / "mine")
    assert every_path(tmp_path / "mine") == ["file"]


def test_what_a_killed_unpack_left_is_removed(store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path) -> None:
    """A partial folder of a process that is gone is removed by the next unpack to the same target."""
    abandoned = tmp_path / "box" / f".digits.{2**22 + 1}.partial"
    (abandoned / "rootfs").mkdir(parents=True)

    oci.unpack(store, build().location, tmp_path / "box" / "digits")

    assert [path.name for path in (tmp_path / "box").iterdir()] == ["digits"]


@pytest.mark.parametrize("which", ["manifest", "config", "runtime layer", "model layer"])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_blob_is_refused(
    store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path, which: str, damage: str
) -> None:
    """A blob that is missing, cut or changed by one bit stops the unpacking with nothing left behind."""
    image = build()
    manifest = read_manifest(store, image)
    digests = {
        "manifest": image.digest,
        "config": manifest["config"]["digest"],
        "runtime layer": manifest["layers"][0]["digest"],
        "model layer": manifest["layers"][1]["digest"],
    }
    key = blob_key(digests[which])
    content = bytearray(store.get(key))
    content[len(content) // 2] ^= 1
    if damage == "missing":
        store.delete(key)
    else:
        store.put(key, bytes(content) if damage == "flipped" else store.get(key)[:-1])

    expected = ObjectMissing if (which, damage) == ("manifest", "missing") else ImageCorrupt
    with pytest.raises(expected, match="pulumi up") as raised:
        oci.unpack(store, image.location, tmp_path / "box" / "digits")

    assert digests[which] in str(raised.value)
    assert every_path(tmp_path / "box") == []


def test_an_unpublished_digest_is_missing(store: Store, build: Callable[[], oci.ImageRef], tmp_path: Path) -> None:
    """A location with a digest that is not in the store is reported as gone."""
    image = build()
    other = image.location.replace(image.digest, "sha256:" + "0" * 64)

    assert not oci.exists(store, other)
    with pytest.raises(ObjectMissing, match="not in the store"):
        oci.unpack(store, other, tmp_path / "target")
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        ([(member("../outside"), b"x")], "not a plain relative name"),
        ([(member("model/../../outside"), b"x")], "not a plain relative name"),
        ([(member("/outside"), b"x")], "not a plain relative name"),
        ([(member("model\\outside"), b"x")], "not a plain relative name"),
        ([(member("model/.wh.file"), b"")], "not a plain relative name"),
        ([(member("new\nline"), b"")], "not a plain relative name"),
        ([(member("n" * 1100), b"")], "not a plain relative name"),
        ([(member("link", kind=tarfile.SYMTYPE, link="/etc"), b"")], "neither a regular file nor a folder"),
        ([(member("link", kind=tarfile.LNKTYPE, link="../outside"), b"")], "neither a regular file nor a folder"),
        ([(member("device", kind=tarfile.CHRTYPE), b"")], "neither a regular file nor a folder"),
        ([(member("pipe", kind=tarfile.FIFOTYPE), b"")], "neither a regular file nor a folder"),
        ([(member("same"), b"1"), (member("same"), b"2")], "in it twice"),
        ([(member("./same"), b"1"), (member("same"), b"2")], "in it twice"),
        ([(member("file"), b"1"), (member("file/below"), b"2")], "folder"),
    ],
)
def test_archive_attacks_are_refused(
    store: Store, tmp_path: Path, attack: list[tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    """A layer with right digests but an unsafe member is refused, and no file is written in or beside the target."""
    location = image_of(store, tar_of((member("first"), b"harmless"), *attack))

    with pytest.raises((ImageCorrupt, StoreLocationError), match=why):
        oci.unpack(store, location, tmp_path / "box" / "digits")

    assert every_path(tmp_path / "box") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["box", "store"]


def test_garbage_and_cut_layers_are_refused(store: Store, tmp_path: Path) -> None:
    """A layer that is no tar, or ends inside a file, is refused."""
    whole = tar_of((member("file"), bytes(100_000)))
    for layer in (b"no tar at all" * 100, whole[:50_000], whole[:600]):
        with pytest.raises(ImageCorrupt):
            oci.unpack(store, image_of(store, layer), tmp_path / "target")
        assert not (tmp_path / "target").exists()


def test_limits_are_kept(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More members or bytes than allowed are refused."""
    location = image_of(store, tar_of(*((member(f"file{number}"), bytes(100)) for number in range(20))))

    monkeypatch.setattr(archive, "MAX_MEMBERS", 19)
    with pytest.raises(ImageCorrupt, match="more than 19 files"):
        oci.unpack(store, location, tmp_path / "target")
    monkeypatch.setattr(archive, "MAX_MEMBERS", 20)
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1999)
    with pytest.raises(ImageCorrupt, match="1999 bytes"):
        oci.unpack(store, location, tmp_path / "target")
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2000)
    oci.unpack(store, location, tmp_path / "target")


def test_modes_are_reduced(store: Store, tmp_path: Path) -> None:
    """Set-user-id and write-for-all bits do not survive; the executable bit does."""
    location = image_of(store, tar_of((member("tool", mode=0o6777), b"x"), (member("file", mode=0o666), b"x")))
    rootfs = oci.unpack(store, location, tmp_path / "target").rootfs

    assert (oct((rootfs / "tool").stat().st_mode)[-4:], oct((rootfs / "file").stat().st_mode)[-4:]) == ("0755", "0644")


def test_compressed_layers_are_named(store: Store, tmp_path: Path) -> None:
    """A layer of a type that Accelform does not write is refused by its type."""
    location = image_of(store, b"", layer_type="application/vnd.oci.image.layer.v1.tar+gzip")

    with pytest.raises(ImageCorrupt, match=r"tar\+gzip"):
        oci.unpack(store, location, tmp_path / "target")


def test_layers_must_be_those_of_the_configuration(store: Store, tmp_path: Path) -> None:
    """A manifest whose layers differ from the configuration's diff_ids is refused."""
    location = image_of(store, tar_of((member("a"), b"1")))
    parsed = layout.parse_location(location)
    document = json.loads(store.get(blob_key(parsed.digest)))
    other = tar_of((member("b"), b"2"))
    store.put(blob_key(f"sha256:{hashlib.sha256(other).hexdigest()}"), other)
    document["layers"] = [layout.describe(layout.LAYER_TYPE, other).document()]
    manifest = layout.describe(layout.MANIFEST_TYPE, layout.encode(document))
    store.put(blob_key(manifest.digest), layout.encode(document))

    with pytest.raises(ImageCorrupt, match="diff_ids differ"):
        oci.unpack(store, location.replace(parsed.digest, manifest.digest), tmp_path / "target")


@pytest.mark.parametrize(
    "location",
    ["", "digits", "file:///s/images/digits/1", "file:///s/images/digits/0@sha256:" + "a" * 64, "@sha256:" + "a" * 64],
)
def test_locations_that_are_refused(store: Store, tmp_path: Path, location: str) -> None:
    """An image location has one form."""
    with pytest.raises(StoreLocationError, match="as an image location"):
        oci.unpack(store, location, tmp_path / "target")


def test_a_location_in_another_store_is_refused(store: Store, tmp_path: Path) -> None:
    """An image is unpacked from the store that its location names, or not at all."""
    location = f"file:///elsewhere/images/digits/1@sha256:{'a' * 64}"

    with pytest.raises(StoreLocationError, match="another store"):
        oci.unpack(store, location, tmp_path / "target")


def test_a_remote_store_is_unpacked_alike(build: Callable[[], oci.ImageRef], store: Store, tmp_path: Path) -> None:
    """A store that is no folder gives the same content."""
    image = build()
    remote = Store.open("memory://")
    for key in store.list("images"):
        remote.put(key, store.get(key))
    location = image.location.replace(store.url, remote.url.rstrip("/"))

    rootfs = oci.unpack(remote, location, tmp_path / "target").rootfs

    assert every_path(rootfs) == every_path(oci.unpack(store, image.location, tmp_path / "other").rootfs)
