"""Image with a registry over the provider protocol: what is pushed, sent again, attested and told before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pulumi.output import UNKNOWN
from pulumi.runtime.rpc import contains_unknowns
from tests.support import registries
from tests.support.base_images import MODEL_BYTES, publish_model, push_base
from tests.support.difficult_registry import Trouble, front
from tests.support.pushed_images import MODEL_OWNER, OWNER, documents, make, manifests_in, names_in
from tests.support.registries import RunningRegistry

from accelform.images import layout
from accelform.images.runtime_layer import fingerprint
from accelform.registry import Connection, Repository, parse, referrers
from accelform.resources.image import ImageProvider


def test_an_image_in_a_registry(
    plugin: Any, project: Path, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Base and model in one image, run as 65532 by its own entry point; read finds it; delete leaves the base alone."""
    inputs = image_inputs()
    id_, outputs = make(plugin, inputs)
    read_id, read_outputs, read_inputs = plugin.read(ImageProvider(), id_, outputs)
    again, failures = plugin.check(ImageProvider(), inputs, olds=read_inputs)
    manifest, config = documents(outputs["image_location"])
    base, _ = documents(inputs["base_image"])

    assert outputs["image_location"] == f"{running.host}/team/digits@{outputs['image_digest']}"
    assert (read_id, read_outputs, failures, again) == (id_, outputs, {}, read_inputs)
    assert list(plugin.diff(ImageProvider(), outputs, again).replaces) == []
    assert manifest["layers"][0] == base["layers"][0]
    assert len(manifest["layers"]) == 2
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == inputs["base_image"].rpartition("@")[2]
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Entrypoint"] == ["python3", "-m", "accelform_runtime.server"]
    assert "Cmd" not in config["config"]
    *image, bundle = sorted(config["config"]["Env"], key=lambda each: each.startswith("ACCELFORM_BUNDLE_SHA256="))
    assert len(bundle.partition("=")[2]) == 64
    assert set(image) == {
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "PYTHONPATH=/opt/accelform",
        "PYTHONDONTWRITEBYTECODE=1",
    }
    assert config["config"]["Labels"]["accelform.model"] == "digits.1.accelonnx:1"
    assert manifest["layers"][1]["mediaType"] == layout.LAYER_TYPE, "random bytes are not worth compressing"
    assert config["rootfs"]["diff_ids"][1] == manifest["layers"][1]["digest"]
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]), "each layer has its uncompressed identity"
    kept = sorted(path.name for path in (project / ".accelform/store/images/digits/1").iterdir())
    assert kept == ["build.log", "image.json", "manifest.json", "registry.json", "reservation.json", "sbom.json"]
    assert "mounted from" in (project / ".accelform/store/images/digits/1/build.log").read_text()

    plugin.delete(ImageProvider(), id_, outputs)
    plugin.delete(ImageProvider(), id_, outputs)
    assert plugin.read(ImageProvider(), id_, outputs)[0] == ""
    assert names_in(running, "team/digits") == []
    assert manifests_in(running, "team/digits") == 0
    documents(inputs["base_image"])


def test_what_is_there_is_not_sent_again(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Another model on the same base sends its own layer and some documents; the same one again sends documents."""
    with registries.wire(running.port) as wire:
        through = {
            "registry": f"{wire.host}/team",
            "base_image": push_base(running.host).replace(running.host, wire.host),
        }
        make(plugin, image_inputs(**through))
        first = wire.sent_bytes
        make(plugin, image_inputs("second", **through))
        second = wire.sent_bytes - first
        make(plugin, image_inputs("second", **through, owner=OWNER + "copy"))
        third = wire.sent_bytes - first - second

    assert MODEL_BYTES < first < MODEL_BYTES + 60_000, "the base's layer of 550 KB was mounted"
    assert MODEL_BYTES < second < MODEL_BYTES + 60_000
    assert third < 60_000
    assert names_in(running, "team/digits") == [
        *("1", "2", "3"),
        *sorted(tag for tag in names_in(running, "team/digits") if tag.startswith("sha256-")),
    ]


def test_another_classifier_leaves_the_featurizer(
    plugin: Any, project: Path, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """A large file is a layer of its own: where only the classifier is new, the featurizer is not sent."""

    def model(seed: str) -> dict[str, Any]:
        store = project / ".accelform" / "store"
        return {"model_fingerprint": publish_model(store, seed=seed, featurizer="trained", owner=MODEL_OWNER)}

    _, first = make(plugin, image_inputs(**model("ten digits")))
    with registries.wire(running.port) as wire:
        through = {
            "registry": f"{wire.host}/team",
            "base_image": push_base(running.host).replace(running.host, wire.host),
        }
        _, second = make(plugin, image_inputs(**model("odd or even"), **through))
        sent = wire.sent_bytes
    before, after = (documents(made["image_location"].replace(wire.host, running.host))[0] for made in (first, second))

    assert len(before["layers"]) == len(after["layers"]) == 3
    assert before["layers"][1] == after["layers"][1]
    assert before["layers"][2] != after["layers"][2]
    assert sent < MODEL_BYTES + 60_000


def test_the_bill_of_materials(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Attached to the image as CycloneDX: base, model, every Python package and Go module."""
    _, outputs = make(plugin, image_inputs())
    reference = parse(outputs["image_location"])
    with Connection(running.host) as connection:
        repository = Repository(connection=connection, name="team/digits")
        (found,) = referrers.referrers(repository, reference.digest)
        artifact = repository.manifest(found.digest)
        assert artifact is not None
        bill = json.loads(repository.read_blob(artifact.document()["layers"][0]["digest"]))

    assert found.artifact_type == "application/vnd.cyclonedx+json"
    assert outputs["sbom_location"] == f"{running.host}/team/digits@{found.digest}"
    assert artifact.document()["subject"]["digest"] == outputs["image_digest"]
    assert bill["metadata"]["component"]["hashes"] == [
        {"alg": "SHA-256", "content": outputs["image_digest"].removeprefix("sha256:")}
    ]
    names = {row["name"] for row in bill["components"]}
    assert {f"{running.host}/team/base", "digits.1.accelonnx", "accelform_runtime", "numpy", "onnxruntime"} <= names
    assert "google.golang.org/grpc" in names


def test_a_preview_asks_no_registry(plugin: Any, image_inputs: Callable[..., dict[str, Any]]) -> None:
    """Identity is known with a registry that does not exist; it follows the registry and the base."""
    elsewhere = {"registry": "registry.invalid/team", "base_image": f"registry.invalid/base@sha256:{'1' * 64}"}
    inputs = image_inputs(**elsewhere)
    checked, failures = plugin.check(ImageProvider(), inputs)
    other, _ = plugin.check(ImageProvider(), {**inputs, "base_image": f"registry.invalid/base@sha256:{'2' * 64}"})
    unknown, none = plugin.check(ImageProvider(), {**inputs, "base_image": UNKNOWN})

    assert (failures, none) == ({}, {})
    assert checked["fingerprint"].startswith("sha256:")
    assert "fingerprint" in plugin.diff(ImageProvider(), checked, other).replaces
    assert contains_unknowns(unknown["fingerprint"])


def test_the_edge_has_the_identity_that_it_had(plugin: Any, image_inputs: Callable[..., dict[str, Any]]) -> None:
    """Without a registry the identity is computed from name, model and runtime alone, so that no stack is replaced."""
    from accelform.plans.identity import fingerprint as identity

    inputs = {name: value for name, value in image_inputs().items() if name not in ("registry", "base_image")}
    checked, failures = plugin.check(ImageProvider(), inputs)

    assert failures == {}
    assert checked["fingerprint"] == identity(name="digits", model=inputs["model_fingerprint"], base=fingerprint())


@pytest.mark.parametrize(
    ("changes", "property_", "reason"),
    [
        ({"base_image": None}, "base_image", "needed with registry"),
        ({"base_image": "registry.example.com/base:1"}, "base_image", "names no digest"),
        ({"registry": "https://registry.example.com"}, "registry", "without https://"),
        ({"registry": "team"}, "registry", "such as registry.example.com/team"),
        ({"registry": None}, "base_image", "means nothing without registry"),
        ({"name": "a..b"}, "registry", "name in lower case"),
        ({"registry_ca_file": "no-such.pem"}, "registry_ca_file", "there is no file 'no-such.pem'"),
    ],
)
def test_what_cannot_be_is_told_at_preview(
    plugin: Any,
    image_inputs: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    property_: str,
    reason: str,
) -> None:
    """Each mistake that can be seen without a registry is a check failure on its property."""
    inputs = {name: value for name, value in image_inputs(**changes).items() if value is not None}
    _, failures = plugin.check(ImageProvider(), inputs)

    assert reason in failures[property_]


@pytest.mark.parametrize("refused", ["/manifests/sha256:", "/manifests/sha256-"])
@pytest.mark.parametrize("status", [400, 404, 405, 415])
def test_a_registry_that_attaches_nothing(
    plugin: Any,
    project: Path,
    running: RunningRegistry,
    image_inputs: Callable[..., dict[str, Any]],
    refused: str,
    status: int,
) -> None:
    """It takes no manifest with a subject, or no list of them: the image is whole, its bill is in the store, and the
    build log says so; deleting takes what there is."""
    with front(running.port) as before:
        through = {"registry": f"{before.host}/team", "base_image": push_base(before.host)}
        before.troubles.append(Trouble(method="PUT", path=refused, status=status))
        id_, outputs = make(plugin, image_inputs(**through))
        again = plugin.read(ImageProvider(), id_, outputs)[0]
        bill = json.loads(Path(urlsplit(outputs["sbom_location"]).path).read_bytes())
        log = Path(urlsplit(outputs["image_build_log_uri"]).path).read_text()
        plugin.delete(ImageProvider(), id_, outputs)

    assert again == id_
    assert bill["metadata"]["component"]["hashes"][0]["content"] == outputs["image_digest"].removeprefix("sha256:")
    assert f"as the registry attaches none to an image: cannot push to {before.host}/team/digits" in log
    assert manifests_in(running, "team/digits") == 0
