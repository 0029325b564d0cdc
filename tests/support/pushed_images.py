"""An image in a registry as its provider makes it, and what the registry then holds."""

from __future__ import annotations

import json
from typing import Any

from tests.support.registries import RunningRegistry

from accelform.registry import Connection, Repository, parse
from accelform.resources.image import ImageProvider

OWNER = "accelform/westus2/"
MODEL_OWNER = OWNER + "converted-model"


def make(plugin: Any, inputs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """An image's id and outputs, once its inputs are checked and it is created."""
    checked, failures = plugin.check(ImageProvider(), inputs)
    assert failures == {}
    id_, outputs = plugin.create(ImageProvider(), checked)
    return id_, outputs


def documents(location: str, *, ca_file: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and configuration of an image in a registry."""
    reference = parse(location)
    with Connection(reference.registry, ca_file=ca_file) as connection:
        repository = Repository(connection=connection, name=reference.repository)
        manifest = repository.manifest(reference.digest)
        assert manifest is not None, f"{location} is not there"
        document = manifest.document()
        return document, json.loads(repository.read_blob(document["config"]["digest"]))


def names_in(running: RunningRegistry, repository: str) -> list[str]:
    """Everything that has a tag there."""
    folder = running.storage / f"docker/registry/v2/repositories/{repository}/_manifests/tags"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def manifests_in(running: RunningRegistry, repository: str) -> int:
    """How many manifests the repository links to, tagged or not."""
    folder = running.storage / f"docker/registry/v2/repositories/{repository}/_manifests/revisions"
    return len(list(folder.rglob("link")))
