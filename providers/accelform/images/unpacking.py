"""Unpack an image where it shall run: every digest checked first, nothing visible before all of it is there.

<target>/rootfs/     the layers' content, in order
<target>/image.json  digest, location, entrypoint and environment
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from accelform.errors import ImageCorrupt, ObjectMissing, StoreLocationError
from accelform.images import layout
from accelform.images.archive import CHUNK_BYTES, unpack_tar
from accelform.store.failures import mapped
from accelform.store.objects import Store
from accelform.store.versions import folder

MAX_DOCUMENT_BYTES = 4 << 20
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class UnpackedImage:
    """An unpacked image: its root file system and what the configuration says about starting it.

    ``environment`` holds the image's own paths (``/opt/accelform``), as inside a container.
    """

    location: str
    digest: str
    rootfs: Path
    entrypoint: tuple[str, ...]
    environment: dict[str, str]


def unpack(store: Store, location: str, target_dir: Path) -> UnpackedImage:
    """Unpack the image at ``location`` into ``target_dir``, which must not exist or hold this very image.

    Raises ObjectMissing when the image is not in the store, ImageCorrupt when a blob is missing, does not match its
    digest or is unsafe, StoreLocationError when the location is not in this store or the target is taken, StoreFull.
    """
    there = unpacked(target_dir)
    parsed = layout.parse_location(location)
    if there is not None and there.digest == parsed.digest:
        return there
    if parsed.store_url.rstrip("/") != store.url.rstrip("/"):
        raise StoreLocationError(
            f"cannot unpack {location}: it lies in another store than {store.url}. "
            "Use the image_location of an Image in this workspace."
        )
    if target_dir.exists() and any(target_dir.iterdir()):
        raise StoreLocationError(
            f"cannot unpack {location} to {target_dir}: the folder exists and holds something else. Remove it first."
        )
    with mapped("unpack to", str(target_dir)):
        target_dir.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target_dir)
        partial = target_dir.parent / f".{target_dir.name}.{os.getpid()}.partial"
        try:
            _unpack_into(store, parsed, location, partial)
            partial.rename(target_dir)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    image = unpacked(target_dir)
    assert image is not None
    return image


def unpacked(target_dir: Path) -> UnpackedImage | None:
    """What ``unpack`` left in a folder, or None when the folder holds no whole image."""
    try:
        document = json.loads((target_dir / "image.json").read_text())
        return UnpackedImage(
            location=document["location"],
            digest=document["digest"],
            rootfs=target_dir / "rootfs",
            entrypoint=tuple(document["entrypoint"]),
            environment=dict(document["environment"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _unpack_into(store: Store, parsed: layout.ImageLocation, location: str, partial: Path) -> None:
    base = folder("images", parsed.name, parsed.version)
    manifest_key = f"{base}/{layout.blob_name(parsed.digest)}"
    if not store.exists(manifest_key):
        raise ObjectMissing(
            f"cannot unpack {location}: the image is not in the store. Run `pulumi refresh` and then `pulumi up`."
        )
    manifest = _document(store, base, {"digest": parsed.digest, "size": store.size(manifest_key)}, location)
    config = _document(store, base, manifest.get("config"), location)
    layers = manifest.get("layers")
    diff_ids = config.get("rootfs", {}).get("diff_ids") if isinstance(config.get("rootfs"), dict) else None
    if not isinstance(layers, list) or not layers or diff_ids != [_digest_of(layer, location) for layer in layers]:
        raise _corrupt(location, "its layers and its configuration's diff_ids differ")
    rootfs = partial / "rootfs"
    rootfs.mkdir(parents=True)
    for layer in layers:
        if layer.get("mediaType") != layout.LAYER_TYPE:
            raise _corrupt(location, f"a layer is of type {layer.get('mediaType')!r}, not {layout.LAYER_TYPE}")
        with _verified_blob(store, base, layer, location) as blob:
            unpack_tar(blob, rootfs, where=f"layer {layer['digest']} of {location}")
    settings = config["config"] if isinstance(config.get("config"), dict) else {}
    image = UnpackedImage(
        location=location,
        digest=parsed.digest,
        rootfs=rootfs,
        entrypoint=tuple(settings.get("Entrypoint") or ()),
        environment=dict(str(entry).split("=", 1) for entry in settings.get("Env") or () if "=" in str(entry)),
    )
    document = asdict(image)
    del document["rootfs"]
    (partial / "image.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def _document(store: Store, base: str, descriptor: Any, location: str) -> dict[str, Any]:
    """A small JSON blob, checked against its descriptor."""
    _digest_of(descriptor, location)
    if not isinstance(descriptor.get("size"), int) or descriptor["size"] > MAX_DOCUMENT_BYTES:
        raise _corrupt(location, f"blob {descriptor['digest']} is larger than {MAX_DOCUMENT_BYTES} bytes")
    with _verified_blob(store, base, descriptor, location) as blob:
        try:
            document = json.load(blob)
        except (ValueError, RecursionError) as error:
            raise _corrupt(location, f"blob {descriptor['digest']} is not JSON") from error
    if not isinstance(document, dict):
        raise _corrupt(location, f"blob {descriptor['digest']} is not a JSON object")
    return document


@contextmanager
def _verified_blob(store: Store, base: str, descriptor: dict[str, Any], location: str) -> Iterator[BinaryIO]:
    """An open file with the blob's content, after its size and digest were found right."""
    digest = _digest_of(descriptor, location)
    key = f"{base}/{layout.blob_name(digest)}"
    size = store.size(key)
    if size is None:
        raise _corrupt(location, f"blob {digest} is missing")
    if size != descriptor.get("size"):
        raise _corrupt(location, f"blob {digest} has {size} bytes instead of {descriptor.get('size')}")
    with contextlib.ExitStack() as stack:
        if store.root is not None:
            blob: BinaryIO = stack.enter_context((store.root / key).open("rb"))
        else:
            blob = stack.enter_context(tempfile.TemporaryFile())
            for chunk in store.stream(key):
                blob.write(chunk)
            blob.seek(0)
        hashed = hashlib.sha256()
        while chunk := blob.read(CHUNK_BYTES):
            hashed.update(chunk)
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise _corrupt(location, f"blob {digest} has other content: its sha256 is {hashed.hexdigest()}")
        blob.seek(0)
        yield blob


def _digest_of(descriptor: Any, location: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise _corrupt(location, "a descriptor has no sha256 digest")
    return digest


def _corrupt(location: str, why: str) -> ImageCorrupt:
    return ImageCorrupt(
        f"cannot unpack {location}: {why}. Someone or something changed the store from outside. "
        "Run `pulumi refresh` to see what is damaged and `pulumi up` to build the image again."
    )


def _remove_abandoned(target_dir: Path) -> None:
    """Remove what a killed unpack left beside the target."""
    for partial in target_dir.parent.glob(f".{target_dir.name}.*.partial"):
        pid = partial.name.split(".")[-2]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(partial, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
