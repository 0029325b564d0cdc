"""An image of one model in a registry: base layers that are there, the runtime where it is missing, the model's layer.

The registry keeps the image; the store keeps what is known about it, in the version's folder:

    registry.json   where it is pushed to and under which digest, written before anything is pushed
    image.json      its manifest        sbom.json   its bill of materials        build.log   how each layer got there

The manifest names its owner and version, so that no two versions share a digest and deleting one never takes another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from accelform._base.progress import Progress
from accelform.errors import NotOwner, RegistryDenied, RegistryRefused
from accelform.faults import fault_point
from accelform.images import layout, runtime_layer, sbom
from accelform.images.archive import LayerFile
from accelform.images.based import PYTHON, read_base, runtime_layers
from accelform.images.building import BUILD_LOG, TITLE, BuildLog, Kept, build
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL, Base, Composed, NewLayer, compose
from accelform.images.compression import FAST, Plain, compressed
from accelform.images.model_files import model_environment
from accelform.images.model_layers import model_layers
from accelform.images.pushing import InRegistry, manifest_of
from accelform.images.runtime_layer import LAYER_FOLDER
from accelform.registry import Repository, blobs, referrers
from accelform.registry.connection import connected, connected_beside
from accelform.registry.reference import parse_pinned, split_prefix
from accelform.store.manifest import FileRecord, decode_object, encode_json
from accelform.store.objects import Store
from accelform.store.versions import folder

OWNER_ANNOTATION = "dev.accelform.owner"
VERSION_ANNOTATION = "org.opencontainers.image.version"
PLACE_FILE, MANIFEST_FILE, SBOM_FILE = "registry.json", "image.json", "sbom.json"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to push: `registry` is HOST[:PORT][/PATH], `base_image` a reference by digest, `ca_file` a path or ""."""

    registry: str
    base_image: str
    ca_file: str
    name: str
    version: int
    owner: str
    model: str
    model_digest: str
    model_files: Sequence[LayerFile]


@dataclass(frozen=True, kw_only=True)
class RegistryImage:
    """A pushed image: locations are references by digest, that of a bill of materials which the registry did not take
    is the store's; `files` is what the store has of it."""

    digest: str
    location: str
    sbom_location: str
    sent_bytes: int
    files: tuple[FileRecord, ...]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where an image is: the address of its repository, its digest and owner, and the authority's file or ""."""

    registry: str
    repository: str
    digest: str
    owner: str
    ca_file: str

    @property
    def location(self) -> str:
        return f"{self.registry}/{self.repository}@{self.digest}"


def publish(store: Store, wanted: Wanted, *, scratch: Path, progress: Progress | None = None) -> RegistryImage:
    """Push the image of an allocated version, with its bill of materials, and keep what is known of it in the store.

    `scratch` is an empty folder for the layers until they are sent.
    Raises BaseImageUnusable, NotOwner where another owner has the tag, the registry's and the store's errors.
    """
    log = BuildLog(progress)
    host, path = split_prefix(wanted.registry)
    base_reference = parse_pinned(wanted.base_image, what="base_image")
    repository_name = f"{path}/{wanted.name}" if path else wanted.name
    log.add(f"image {host}/{repository_name}:{wanted.version} on {base_reference}")
    with (
        connected(host, ca_file=wanted.ca_file, progress=log.add) as near,
        connected_beside(near, base_reference.registry, ca_file=wanted.ca_file, progress=log.add) as far,
    ):
        target = Repository(connection=near, name=repository_name)
        source = Repository(connection=far, name=base_reference.repository)
        # The registry answers while what is here is looked at.
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="look") as pool:
            checked = pool.submit(_check_owner, target, wanted)
            base = pool.submit(read_base, source, base_reference)
            runtime = runtime_layer.fingerprint()
            model = model_layers(store, wanted.model_files, scratch)
            checked.result()
        image = _composed(store, base.result(), model, wanted, runtime=runtime, folder=scratch)
        place = Place(
            registry=host,
            repository=repository_name,
            digest=image.digest,
            owner=wanted.owner,
            ca_file=wanted.ca_file,
        )
        kept = Kept(store, folder("images", wanted.name, wanted.version))
        kept.add(PLACE_FILE, encode_json(asdict(place)))
        bill = sbom.document(_subject(wanted, image.digest, runtime))
        parts = referrers.blobs_of(blobs.of_bytes(bill))
        destination = InRegistry(repository=target, tag=str(wanted.version), source=source, beside=parts)
        sent_bytes = build(image, destination, tell=log.add)
        kept.add(SBOM_FILE, bill)
        sbom_location = kept.url_of(SBOM_FILE)
        try:
            attached = referrers.attach(
                target,
                manifest_of(image),
                blobs.of_bytes(bill),
                artifact_type=sbom.MEDIA_TYPE,
                annotations={"org.opencontainers.image.created": layout.CREATED, OWNER_ANNOTATION: wanted.owner},
            )
        except (RegistryDenied, RegistryRefused) as error:
            log.add(f"bill of materials {sbom_location}, as the registry attaches none to an image: {error}")
        else:
            sbom_location = f"{target.address}@{attached}"
            log.add(f"bill of materials {attached}")
        fault_point("image:after-attach")
    kept.add(MANIFEST_FILE, image.manifest)
    kept.add(BUILD_LOG, log.text().encode())
    return RegistryImage(
        digest=image.digest,
        location=place.location,
        sbom_location=sbom_location,
        sent_bytes=sent_bytes,
        files=kept.files,
    )


def missing(store: Store, name: str, version: int, *, ca_file: str) -> list[str]:
    """What of a pushed image is gone from its registry, one sentence each; empty when all is there.

    Raises the registry's errors: what cannot be asked is not gone.
    """
    place = read_place(store, name, version)
    if place is None:
        return [f"{store.url_of(folder('images', name, version))} does not say where the image is"]
    with connected(place.registry, ca_file=ca_file) as connection:
        repository = Repository(connection=connection, name=place.repository)
        manifest = repository.manifest(place.digest)
        if manifest is None:
            return [f"{place.location} is not in the registry"]
        document = manifest.document()
        wanted = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
        return [f"{repository.address} has no {digest}" for digest in wanted if not repository.has_blob(digest)]


def withdraw(place: Place, *, ca_file: str, progress: Progress) -> None:
    """Remove an image and what is attached to it; gone already is fine.

    A registry that does not delete is told to `progress`. Another owner's image stays. Raises the registry's errors.
    """
    with connected(place.registry, ca_file=ca_file) as connection:
        repository = Repository(connection=connection, name=place.repository)
        manifest = repository.manifest(place.digest)
        if manifest is not None and _annotation(manifest.document(), OWNER_ANNOTATION) != place.owner:
            return
        tags: tuple[str, ...] = ()
        if manifest is not None:
            referrers.detach_all(repository, place.digest)
            tags = (_annotation(manifest.document(), VERSION_ANNOTATION),)
        if not repository.delete_manifest(place.digest, tags=tags):
            progress(
                f"{place.location} stays: the registry {place.registry} does not delete. "
                "Remove it with the registry's own tools."
            )
    fault_point("image:after-unpush")


def read_place(store: Store, name: str, version: int) -> Place | None:
    """Where a version was pushed to, or None where it never was. Raises StoreCorrupt."""
    key = f"{folder('images', name, version)}/{PLACE_FILE}"
    if not store.exists(key):
        return None
    document = decode_object(store.get(key), where=store.url_of(key), what="registry record")
    return Place(**{field: str(document.get(field) or "") for field in Place.__dataclass_fields__})


def place_of(location: str, *, owner: str) -> Place:
    """An image's location, taken apart. Raises ReferenceInvalid."""
    reference = parse_pinned(location, what="image_location")
    return Place(
        registry=reference.registry,
        repository=reference.repository,
        digest=reference.digest,
        owner=owner,
        ca_file="",
    )


def _composed(
    store: Store, base: Base, model: Sequence[NewLayer], wanted: Wanted, *, runtime: str, folder: Path
) -> Composed:
    labels = {
        TITLE: wanted.name,
        "accelform.model": wanted.model,
        RUNTIME_LABEL: runtime,
        PYTHON_LABEL: PYTHON,
    }
    below: tuple[NewLayer, ...] = ()
    if base.labels.get(RUNTIME_LABEL) != runtime:
        packed = runtime_layer.build(store)
        (folder / "runtime").mkdir()
        plain = Plain(chunks=lambda: store.stream(packed.key), description=packed.description)
        (layer,) = compressed([plain], folder / "runtime", level=FAST)
        below = runtime_layers(base, fingerprint=packed.fingerprint, runtime=layer)
    return compose(
        base,
        (*below, *model),
        labels=labels,
        annotations={
            TITLE: wanted.name,
            VERSION_ANNOTATION: str(wanted.version),
            OWNER_ANNOTATION: wanted.owner,
        },
        python_path=f"/{LAYER_FOLDER}",
        environment=model_environment(wanted.model_files),
    )


def _check_owner(target: Repository, wanted: Wanted) -> None:
    there = target.manifest(str(wanted.version))
    owner = _annotation(there.document(), OWNER_ANNOTATION) if there else wanted.owner
    if owner != wanted.owner:
        raise NotOwner(
            f"cannot push {target.address}:{wanted.version} for {wanted.owner}: it belongs to "
            f"{owner or 'somebody else'}. Use another image name or another path in the registry."
        )


def _annotation(document: Mapping[str, object], name: str) -> str:
    annotations = document.get("annotations")
    return str(annotations.get(name) or "") if isinstance(annotations, dict) else ""


def _subject(wanted: Wanted, digest: str, runtime: str) -> sbom.Subject:
    return sbom.Subject(
        name=wanted.name,
        version=wanted.version,
        digest=digest,
        base_image=wanted.base_image,
        model=wanted.model,
        model_digest=wanted.model_digest,
        runtime=runtime,
    )
