"""Rows and steps that several resources share."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelform import project
from accelform.errors import InternalError, ObjectMissing, StoreCorrupt, UserError
from accelform.plans.contract import Problem, Property

if TYPE_CHECKING:
    from accelform.store import Store
    from accelform.store.manifest import FileRecord, Manifest

TAGS = Property(name="tags", kind="map", role="update", description="names and values to find it by; replaceable")
PROPERTIES = Property(
    name="properties", kind="map", role="update", description="names and values that may be added but never changed"
)
DESCRIPTION = Property(name="description", kind="string", role="update", description="a sentence for people")
OWNER = Property(
    name="owner",
    kind="string",
    role="update",
    required=True,
    description="`<project>/<stack>/<resource name>`, set by the library",
)
STORAGE_URL = Property(
    name="storage_url", kind="string", role="replace", required=True, description="the workspace's store"
)
WORKSPACE_ID = Property(
    name="workspace_id", kind="string", role="replace", required=True, description="id of the workspace it belongs to"
)
CREATED_TIME = Property(name="created_time", kind="string", role="output", description="RFC 3339 time of creation")

CLAIM = Property(
    name="claim",
    kind="string",
    role="output",
    description="which create made or adopted it; a forced replacement adopts it and its old self leaves it alone",
)

_ANNOTATIONS = (TAGS.name, PROPERTIES.name, DESCRIPTION.name)


def open_store(values: Mapping[str, Any]) -> Store:
    """The store that `values["storage_url"]` names."""
    from accelform.store import Store

    return Store.open(project.resolve_url(values["storage_url"]))


def local_store(storage_url: str) -> Store | None:
    """The store if looking into it needs no network and it is there already, else None."""
    from accelform.store import Store

    url = project.resolve_url(storage_url)
    if not url.startswith("file:") or not Path(url.removeprefix("file://")).is_dir():
        return None
    return Store.open(url)


def property_problems(inputs: Mapping[str, Any], stored: Mapping[str, Any]) -> list[Problem]:
    """One problem for each of the stored `properties` that `inputs` would change or drop (Azure ML: add only)."""
    before, after = stored.get("properties") or {}, inputs.get("properties") or {}
    return [
        Problem(
            property="properties",
            reason=f"property {key!r} cannot change from {value!r} to {after.get(key)!r}: "
            "properties are immutable, tags are not",
        )
        for key, value in before.items()
        if after.get(key) != value
    ]


def manifest_problems(inputs: Mapping[str, Any], *, kind: str, name: str) -> list[Problem]:
    """What is damaged among the versions this resource published before, as far as it can be read without network."""
    from accelform.store import catalog

    store = local_store(inputs["storage_url"])
    if store is None:
        return []
    try:
        catalog.check(store, kind, name, owner=inputs["owner"])
    except StoreCorrupt as error:
        return [Problem(property="storage_url", reason=str(error))]
    return []


def require_unchanged(path: str, *, expected: str, found: str) -> None:
    """Raises UserError where the file changed between preview and deployment."""
    if expected != found:
        raise UserError(
            f"{path} changed while it was being deployed ({expected} is now {found}); run `pulumi up` again"
        )


def publish_or_adopt(
    inputs: Mapping[str, Any],
    *,
    kind: str,
    name: str,
    digest: str,
    fault_prefix: str,
    files: Callable[[int], Mapping[str, Path]] | None = None,
    build: Callable[[int], tuple[tuple[FileRecord, ...], Mapping[str, Any]]] | None = None,
) -> Manifest:
    """The version of `name` with `digest` that `inputs["owner"]` has, made if it is not there yet.

    A version left by an interrupted create is adopted; one whose files were damaged since is written again under its
    number. `files` gives local files to store; `build` stores files by itself and returns their records and properties.
    """
    from accelform.store import catalog, versions

    store, owner = open_store(inputs), inputs["owner"]
    annotations = {**_annotations(inputs), CLAIM.name: secrets.token_hex(8)}
    there = versions.adopt(store, kind, name, owner=owner, digest=digest)
    if there and not versions.verify(store, there):
        return catalog.annotate(store, there, owner=owner, properties=annotations)
    if there:
        version = there.version
        note(f"{name}:{version} is damaged in the store; writing it again")
    else:
        version = versions.allocate(store, kind, name, owner=owner, digest=digest, fault_prefix=fault_prefix).version
    stored_files, properties = build(version) if build else ((), {})
    return versions.publish(
        store,
        kind,
        name,
        version,
        owner=owner,
        digest=digest,
        files=files(version) if files else {},
        stored_files=stored_files,
        properties={**annotations, **properties},
        fault_prefix=fault_prefix,
    )


def find_version(store: Store, *, kind: str, owner: str, digest: str, what: str) -> Manifest:
    """The version that `owner` published with `digest`; InternalError where it is gone."""
    from accelform.store import catalog

    manifest = catalog.find(store, kind, owner=owner, digest=digest)
    if manifest is None:
        raise InternalError(
            f"the {what} {digest} is not in {store.url}; it was removed from outside. "
            "Run `pulumi refresh` and then `pulumi up` to make it again"
        )
    return manifest


def read_version(values: Mapping[str, Any], *, kind: str, name: str, version: int) -> Manifest | None:
    """The version's manifest, or None where the version or one of its files is gone. Raises StoreCorrupt."""
    from accelform.store import versions

    store = open_store(values)
    try:
        manifest = versions.read_manifest(store, kind, name, version)
    except ObjectMissing:
        return None
    damage = versions.verify(store, manifest)
    for sentence in damage:
        note(f"{name}:{version}: {sentence}")
    return None if damage else manifest


def annotate(inputs: Mapping[str, Any], *, kind: str, name: str, version: int) -> Manifest:
    """Writes the resource's tags, properties and description to its version."""
    from accelform.store import catalog, versions

    store = open_store(inputs)
    manifest = versions.read_manifest(store, kind, name, version)
    return catalog.annotate(store, manifest, owner=inputs["owner"], properties=_annotations(inputs))


def annotations_of(manifest: Manifest) -> dict[str, Any]:
    """The tags, properties and description that a version carries."""
    return {key: manifest.properties[key] for key in _ANNOTATIONS if manifest.properties.get(key) is not None}


def withdraw(stored: Mapping[str, Any], *, kind: str, name: str, version: int) -> None:
    """Removes a version's content, unless a later create has claimed it; its number stays taken."""
    from accelform.store import versions

    store = open_store(stored)
    with contextlib.suppress(ObjectMissing, StoreCorrupt):
        manifest = versions.read_manifest(store, kind, name, version)
        if manifest.properties.get(CLAIM.name) != stored.get(CLAIM.name):
            return
    versions.withdraw(store, kind, name, version, owner=stored["owner"])


def note(text: str) -> None:
    """Shows one line of progress to whoever runs `pulumi`."""
    print(text, flush=True)


def _annotations(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {key: inputs.get(key) for key in _ANNOTATIONS}
