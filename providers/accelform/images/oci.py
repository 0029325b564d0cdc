"""An OCI layout in the store as an image's destination.

    images/<name>/<version>/oci-layout, index.json, blobs/sha256/<hex>, build.log

Each version is a complete layout of its own, so any OCI tool can read it and deleting one never touches another. The
runtime layer is not copied: locally its blob is a hard link to the one that all images share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from accelform._base.progress import Progress
from accelform.errors import StoreLocationError
from accelform.images import layout
from accelform.images.archive import LayerFile, tar_stream
from accelform.images.building import BUILD_LOG, TITLE, BuildLog, Kept, build
from accelform.images.composing import SCRATCH, Composed, NewLayer, compose, plain_layer
from accelform.images.layout import Descriptor, ImageLocation
from accelform.images.model_files import layer_files, model_environment
from accelform.images.runtime_layer import LAYER_FOLDER, LayerRef
from accelform.images.unpacking import UnpackedImage, unpack, unpacked
from accelform.registry.blobs import Blob
from accelform.store.manifest import FileRecord
from accelform.store.objects import Store
from accelform.store.versions import folder

__all__ = ["ImageRef", "UnpackedImage", "build_image", "exists", "located_in", "unpack", "unpacked"]


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
    progress: Progress | None = None,
) -> ImageRef:
    """Build the layout of an allocated version: the runtime layer, then a layer with the files below /model.

    ``model_files`` maps names below /model to local files. Labels become OCI labels and annotations; the title
    defaults to ``name``. Equal files, labels, name and runtime layer give the same digest in every version and place.
    Raises StoreFull, ObjectMissing when the runtime layer is gone, and the store's other errors.
    """
    if not model_files:
        raise StoreLocationError(f"cannot build the image {name}: there are no model files. Convert the model first.")
    log = BuildLog(progress)
    log.add(f"image {name} for linux/{layout.architecture()}")
    files = layer_files(model_files)
    place = InStore(kept=Kept(store, folder("images", name, version)), reference_name=str(version))
    all_labels = {TITLE: name, **(labels or {})}
    image = compose(
        SCRATCH,
        (place.shared(runtime_layer), place.packed(files)),
        labels=all_labels,
        annotations=all_labels,
        python_path=f"/{LAYER_FOLDER}",
        environment=model_environment(files),
        user="",
    )
    build(image, place, tell=log.add)
    place.kept.add(BUILD_LOG, log.text().encode())
    return ImageRef(
        digest=image.digest,
        location=str(ImageLocation(store_url=store.url, name=name, version=version, digest=image.digest)),
        size_bytes=sum(layer.size_bytes for layer in image.layers) + len(image.config) + len(image.manifest),
        files=place.kept.files,
        build_log=log.text(),
        build_log_url=place.kept.url_of(BUILD_LOG),
    )


@dataclass(frozen=True, kw_only=True)
class InStore:
    """The layout in a version's folder, with one image under one reference name. Its layers come from the store too."""

    kept: Kept
    reference_name: str
    _sources: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By digest: the key of a layer's content, and how it got there."""

    def shared(self, layer: LayerRef) -> NewLayer:
        """A layer that other images have too."""
        return self._known(layer.key, layer.digest, layer.size_bytes, layer.description, "shared by all images")

    def packed(self, files: Sequence[LayerFile]) -> NewLayer:
        """A layer of model files, read once: its digest, which is its name, is known only at its end."""
        staged = self.kept.key(f"{layout.MODEL_FOLDER}.layer")
        written = self.kept.store.put_stream(staged, tar_stream(files))
        names = ", ".join(file.name.removeprefix(f"{layout.MODEL_FOLDER}/") for file in files)
        description = f"model files below /{layout.MODEL_FOLDER}"
        return self._known(staged, f"sha256:{written.sha256}", written.size_bytes, description, names)

    def bring(self, layer: Descriptor, new: NewLayer | None, *, what: str, tell: Progress) -> tuple[str, int]:
        """See Destination."""
        key, how = self._sources[layer.digest]
        name = layout.blob_name(layer.digest)
        self.kept.store.copy(key, self.kept.key(name))
        if key.startswith(self.kept.key("")):
            self.kept.store.delete(key)
        self.kept.record(name, layer.size_bytes, layer.digest.removeprefix("sha256:"))
        return how, layer.size_bytes

    def documents(self, image: Composed) -> list[Callable[[], int]]:
        """See Destination."""
        config = layout.describe(layout.CONFIG_TYPE, image.config)
        return [
            lambda: self._write(layout.blob_name(config.digest), image.config),
            lambda: self._write("oci-layout", layout.OCI_LAYOUT),
        ]

    def finish(self, image: Composed) -> str:
        """See Destination."""
        manifest = layout.describe(layout.MANIFEST_TYPE, image.manifest)
        self._write(layout.blob_name(manifest.digest), image.manifest)
        index = layout.index_document(manifest, reference_name=self.reference_name)
        self._write("index.json", layout.encode(index))
        return f"version {self.reference_name}"

    def give_up(self) -> None:
        """See Destination. Nothing here waits for anyone."""

    def _known(self, key: str, digest: str, size_bytes: int, description: str, how: str) -> NewLayer:
        self._sources[digest] = key, how
        blob = Blob(digest=digest, size_bytes=size_bytes, open=lambda: self.kept.store.stream(key))
        return plain_layer(blob, description)

    def _write(self, name: str, content: bytes) -> int:
        self.kept.add(name, content)
        return len(content)


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
