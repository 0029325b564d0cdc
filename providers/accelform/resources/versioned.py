"""What Model, ConvertedModel and Image share: each is a version under a name in the workspace's store."""

from __future__ import annotations

import contextlib
import secrets
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from accelform.errors import InternalError, ObjectMissing, StoreCorrupt
from accelform.plans.contract import Problem, Property
from accelform.resources import cancelling, common
from accelform.resources.base import AccelProvider, Values

if TYPE_CHECKING:
    from accelform.store import Store
    from accelform.store.manifest import FileRecord, Manifest
    from accelform.store.versions import MadeFile

CLAIM = Property(
    name="claim",
    kind="string",
    role="output",
    description="which create made or adopted it; a forced replacement adopts it and its old self leaves it alone",
)

_ANNOTATIONS = (common.TAGS.name, common.PROPERTIES.name, common.DESCRIPTION.name)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a version holds: local files to store and the sha256 (hex) that those must have, files that were made for
    it, files that are stored already, and properties to record."""

    files: Mapping[str, Path] = field(default_factory=dict)
    sha256s: Mapping[str, str] = field(default_factory=dict)
    made_files: Mapping[str, MadeFile] = field(default_factory=dict)
    stored_files: tuple[FileRecord, ...] = ()
    properties: Mapping[str, Any] = field(default_factory=dict)


class VersionedProvider(AccelProvider):
    """Publishes, adopts, repairs, annotates and withdraws versions; subclasses say what is in one."""

    kind: ClassVar[str]
    """`models` or `images`: where in the store."""
    identity: ClassVar[str]
    """The property whose value tells one content from another."""
    fault_prefix: ClassVar[str]
    """First word of its fault points."""

    @abstractmethod
    def name_of(self, values: Values) -> str:
        """The name its versions count under."""

    @abstractmethod
    def content(self, inputs: Values, *, name: str, version: int, folder: Path) -> Content:
        """Makes what version `version` holds; `folder` is empty and goes afterwards."""

    def damage(self, store: Store, manifest: Manifest, values: Values) -> list[str]:
        """What is wrong with a published version, one sentence each; empty when all is well."""
        from accelform.store import versions

        return versions.verify(store, manifest)

    def tidy(self, store: Store, inputs: Values) -> None:
        """Removes what interrupted creates left elsewhere than in the store; the store's numbers look after that."""
        return

    def unmake(self, store: Store, stored: Values) -> None:
        """Removes what a version has elsewhere than in the store, before it is withdrawn there."""
        return

    def outputs(self, url: str, manifest: Manifest) -> Values:
        """The outputs of a published version; `url` is its folder in the store."""
        return {
            "version": manifest.version,
            common.CREATED_TIME.name: manifest.created_time,
            CLAIM.name: manifest.properties[CLAIM.name],
        }

    def make(self, inputs: Values) -> tuple[str, Values]:
        """Takes over what an interrupted create left, writes a damaged version again, or publishes the next one."""
        from accelform.store import catalog, versions

        store, owner, digest = common.open_store(inputs), inputs["owner"], inputs[self.identity]
        name = self.name_of(inputs)
        recorded = {**_annotations(inputs), CLAIM.name: secrets.token_hex(8)}
        there = versions.adopt(store, self.kind, name, owner=owner, digest=digest)
        if there and not self.damage(store, there, inputs):
            manifest = catalog.annotate(store, there, owner=owner, properties=recorded)
            return self._made(store, manifest)
        if there:
            version = there.version
            common.note(f"{name}:{version} is damaged; making it again")
        else:
            self.tidy(store, inputs)
            version = versions.allocate(
                store, self.kind, name, owner=owner, digest=digest, fault_prefix=self.fault_prefix
            ).version
        with cancelling.temporary_folder("accelform-") as folder:
            content = self.content(inputs, name=name, version=version, folder=folder)
            manifest = versions.publish(
                store,
                self.kind,
                name,
                version,
                owner=owner,
                digest=digest,
                files=content.files,
                sha256s=content.sha256s,
                made_files=content.made_files,
                stored_files=content.stored_files,
                properties={**recorded, **content.properties},
                fault_prefix=self.fault_prefix,
            )
        return self._made(store, manifest)

    def look(self, id_: str, values: Values) -> Values | None:
        from accelform.store import versions

        store, name, version = common.open_store(values), self.name_of(values), values["version"]
        try:
            manifest = versions.read_manifest(store, self.kind, name, version)
        except ObjectMissing:
            return None
        if damage := self.damage(store, manifest, values):
            for sentence in damage:
                common.note(f"{name}:{version}: {sentence}")
            return None
        found = {key: manifest.properties[key] for key in _ANNOTATIONS if manifest.properties.get(key) is not None}
        return {**values, **found}

    def change(self, id_: str, stored: Values, inputs: Values) -> Values:
        from accelform.store import catalog, versions

        store = common.open_store(inputs)
        manifest = versions.read_manifest(store, self.kind, self.name_of(stored), stored["version"])
        changed = catalog.annotate(store, manifest, owner=inputs["owner"], properties=_annotations(inputs))
        return self._made(store, changed)[1]

    def remove(self, id_: str, stored: Values) -> None:
        from accelform.store import versions

        store, name, version = common.open_store(stored), self.name_of(stored), stored["version"]
        owner = stored["owner"]
        with contextlib.suppress(ObjectMissing, StoreCorrupt):
            manifest = versions.read_manifest(store, self.kind, name, version)
            if manifest.properties.get(CLAIM.name) != stored.get(CLAIM.name):
                return  # a later create has adopted it
            owner = manifest.owner  # whose stack has another name since, and was ended before its state said so
        self.unmake(store, stored)
        versions.withdraw(store, self.kind, name, version, owner=owner)

    def manifest_problems(self, inputs: Values) -> list[Problem]:
        """What is damaged among the versions it published before, as far as it can be read without network."""
        from accelform.store import catalog

        store = common.local_store(inputs["storage_url"])
        if store is None:
            return []
        try:
            catalog.check(store, self.kind, self.name_of(inputs), owner=inputs["owner"])
        except StoreCorrupt as error:
            return [Problem(property=common.STORAGE_URL.name, reason=str(error))]
        return []

    def _made(self, store: Store, manifest: Manifest) -> tuple[str, Values]:
        url = store.url_of(f"{self.kind}/{manifest.name}/{manifest.version}")
        return f"{manifest.name}:{manifest.version}", self.outputs(url, manifest)


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


def _annotations(inputs: Mapping[str, Any]) -> Values:
    return {key: inputs.get(key) for key in _ANNOTATIONS}
