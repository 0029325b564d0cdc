"""Build an image as an OCI layout in the store, and unpack one where it shall run.

    images/<name>/<version>/oci-layout, index.json, blobs/sha256/<hex>, build.log

Each version is a complete layout of its own, so any OCI tool can read it and deleting one never touches another. The
runtime layer is not copied: locally its blob is a hard link to the one that all images share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from accelform.errors import StoreLocationError
from accelform.images import layout
from accelform.images.archive import tar_stream
from accelform.images.layout import Descriptor, ImageLocation
from accelform.images.model_files import layer_files, model_environment
from accelform.images.runtime_layer import LAYER_FOLDER, LayerRef
from accelform.images.unpacking import UnpackedImage, unpack, unpacked
from accelform.store.manifest import FileRecord
from accelform.store.objects import Store, StoredObject
from accelform.store.versions import folder

__all__ = ["ImageRef", "UnpackedImage", "build_image", "exists", "located_in", "unpack", "unpacked"]

BUILD_LOG = "build.log"
TITLE = "org.opencontainers.image.title"


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """A built image. ``digest`` is the manifest's; ``files`` is what ``versions.publish`` wants as stored_files."""

    digest: str
    location: str
    size_bytes: int
    files: tuple[FileRecord, ...]
    build_log: str
    build_log_url: str


def build_image(
    store: Store,
    *,
    name: str,
    version: int,
    model_files: Mapping[str, Path],
    runtime_layer: LayerRef,
    labels: Mapping[str, str] | None = None,
    progress: Callable[[str], None] | None = None,
) -> ImageRef:
    """Build the layout of an allocated version: the runtime layer, then a layer with the files below /model.

    ``model_files`` maps names below /model to local files. Labels become OCI labels and annotations; the title
    defaults to ``name``. Equal files, labels, name and runtime layer give the same digest in every version and place.
    Raises StoreFull, ObjectMissing when the runtime layer is gone, and the store's other errors.
    """
    if not model_files:
        raise StoreLocationError(f"cannot build the image {name}: there are no model files. Convert the model first.")
    base = folder("images", name, version)
    log = BuildLog(progress)
    all_labels = {TITLE: name, **(labels or {})}
    log.add(f"image {name} for linux/{layout.architecture()}")
    files: dict[str, FileRecord] = {}

    def keep(file_name: str, size_bytes: int, sha256: str) -> None:
        files[file_name] = FileRecord(name=file_name, size_bytes=size_bytes, sha256=sha256)

    def keep_document(media_type: str, content: bytes) -> Descriptor:
        blob = layout.describe(media_type, content)
        _keep(store, base, layout.blob_name(blob.digest), content, keep)
        return blob

    runtime = Descriptor(media_type=layout.LAYER_TYPE, digest=runtime_layer.digest, size_bytes=runtime_layer.size_bytes)
    runtime_blob = layout.blob_name(runtime.digest)
    store.copy(runtime_layer.key, f"{base}/{runtime_blob}")
    keep(runtime_blob, runtime.size_bytes, runtime.digest.removeprefix("sha256:"))
    log.add(f"layer 1/2 {runtime.digest} {runtime.size_bytes} bytes: {runtime_layer.description}")

    written = _write_model_layer(store, base, model_files)
    model = Descriptor(media_type=layout.LAYER_TYPE, digest=f"sha256:{written.sha256}", size_bytes=written.size_bytes)
    keep(layout.blob_name(model.digest), model.size_bytes, written.sha256)
    log.add(f"layer 2/2 {model.digest} {model.size_bytes} bytes: model files {', '.join(sorted(model_files))}")

    layers = ((runtime, runtime_layer.description), (model, f"model files below /{layout.MODEL_FOLDER}"))
    configuration = layout.config_document(
        layers,
        labels=all_labels,
        python_path=f"/{LAYER_FOLDER}",
        environment=model_environment(layer_files(model_files)),
    )
    config = keep_document(layout.CONFIG_TYPE, layout.encode(configuration))
    log.add(f"config {config.digest}")
    document = layout.manifest_document(config, [runtime, model], annotations=all_labels)
    manifest = keep_document(layout.MANIFEST_TYPE, layout.encode(document))
    log.add(f"manifest {manifest.digest}")

    _keep(store, base, "oci-layout", layout.OCI_LAYOUT, keep)
    _keep(store, base, BUILD_LOG, log.text().encode(), keep)
    index = layout.encode(layout.index_document(manifest, reference_name=str(version)))
    _keep(store, base, "index.json", index, keep)
    return ImageRef(
        digest=manifest.digest,
        location=str(ImageLocation(store_url=store.url, name=name, version=version, digest=manifest.digest)),
        size_bytes=runtime.size_bytes + model.size_bytes + config.size_bytes + manifest.size_bytes,
        files=tuple(sorted(files.values(), key=lambda record: record.name)),
        build_log=log.text(),
        build_log_url=store.url_of(f"{base}/{BUILD_LOG}"),
    )


def exists(store: Store, location: str) -> bool:
    """Whether the image is in the store: its manifest, by digest. ``versions.verify`` looks at every blob.

    Raises StoreLocationError for what is no image location.
    """
    parsed = layout.parse_location(location)
    return store.exists(f"{folder('images', parsed.name, parsed.version)}/{layout.blob_name(parsed.digest)}")


def located_in(store: Store, location: str) -> str:
    """The location of the same image as this store calls it now; it says where the store was when it was built.

    Raises StoreLocationError for what is no image location.
    """
    return str(replace(layout.parse_location(location), store_url=store.url))


class BuildLog:
    """The build log: the same text for the same image, also told to the caller line by line."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self._lines: list[str] = []
        self._progress = progress

    def add(self, line: str) -> None:
        self._lines.append(line)
        if self._progress:
            self._progress(line)

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _write_model_layer(store: Store, base: str, model_files: Mapping[str, Path]) -> StoredObject:
    """Stream the layer once: its digest, which is its name, is known only at its end."""
    staged = f"{base}/{layout.MODEL_FOLDER}.layer"
    written = store.put_stream(staged, tar_stream(layer_files(model_files)))
    store.copy(staged, f"{base}/{layout.blob_name(f'sha256:{written.sha256}')}")
    store.delete(staged)
    return written


def _keep(store: Store, base: str, name: str, content: bytes, keep: Callable[[str, int, str], None]) -> None:
    written = store.put(f"{base}/{name}", content)
    keep(name, written.size_bytes, written.sha256)
