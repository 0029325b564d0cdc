"""Base images of every kind below a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.support import registries
from tests.support.base_images import push_base, push_index
from tests.support.ports import free_port
from tests.support.pushed_images import documents, make, names_in
from tests.support.registries import RunningRegistry

from accelform.images import layout
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL
from accelform.images.runtime_layer import fingerprint
from accelform.resources.image import ImageProvider


def test_a_base_without_the_runtime(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Any Python image is a base: the runtime goes between it and the model; a runtime of another version is hidden."""
    plain = push_base(running.host, labels={}, environment=("PYTHON_VERSION=3.11.9",))
    _, outputs = make(plugin, image_inputs(base_image=plain))
    manifest, config = documents(outputs["image_location"])
    older = push_base(running.host, labels={RUNTIME_LABEL: "sha256:" + "0" * 64, PYTHON_LABEL: "3.11"})
    _, replaced = make(plugin, image_inputs("second", base_image=older))
    over, _ = documents(replaced["image_location"])

    assert len(manifest["layers"]) == 3
    assert manifest["layers"][1]["size"] > 50_000_000
    assert "PYTHON_VERSION=3.11.9" in config["config"]["Env"]
    assert config["config"]["Labels"][RUNTIME_LABEL] == fingerprint()
    assert [layer["digest"] for layer in over["layers"]][2] == manifest["layers"][1]["digest"]
    hiding = running.blob_file(over["layers"][1]["digest"]).read_bytes()
    assert hiding.startswith(b"opt/.wh.accelform\0")


@pytest.mark.parametrize(
    ("base", "reason"),
    [
        ({"architecture": "s390x"}, "it is for linux/s390x, and the runtime here is for linux/"),
        ({"labels": {PYTHON_LABEL: "3.13"}}, "it has Python 3.13, and the runtime here is for 3.11"),
        ({"labels": {}, "environment": ("PYTHON_VERSION=3.12.4",)}, "it has Python 3.12"),
    ],
)
def test_a_base_that_cannot_be_used(
    plugin: Any,
    running: RunningRegistry,
    image_inputs: Callable[..., dict[str, Any]],
    base: dict[str, Any],
    reason: str,
) -> None:
    """Another machine's or another Python's base is refused before anything is pushed, and said to be."""
    with pytest.raises(grpc.RpcError, match=reason):
        make(plugin, image_inputs(base_image=push_base(running.host, **base)))

    assert names_in(running, "team/digits") == []


def test_a_base_for_several_machines(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """Of an index the image for this machine is taken; one without it is refused."""
    here, other = push_base(running.host), push_base(running.host, architecture="s390x")
    both = push_index(running.host, {"s390x": other, layout.architecture(): here})
    _, outputs = make(plugin, image_inputs(base_image=both))

    assert documents(outputs["image_location"])[1]["architecture"] == layout.architecture()
    with pytest.raises(grpc.RpcError, match="it is for linux/s390x"):
        make(plugin, image_inputs("second", base_image=push_index(running.host, {"s390x": other})))


def test_a_base_in_another_registry_is_copied(
    plugin: Any, tmp_path: Path, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """The base's layers come through here, and only once."""
    with registries.registry(tmp_path / "far") as far:
        _, outputs = make(plugin, image_inputs(base_image=push_base(far.host)))
        make(plugin, image_inputs("second", base_image=push_base(far.host)))
        asked = [line for line in far.requests() if line.startswith("GET") and "/blobs/" in line]

    manifest, _ = documents(outputs["image_location"])
    assert sum(manifest["layers"][0]["digest"] in line for line in asked) == 1


def test_a_base_that_is_not_there(
    plugin: Any, running: RunningRegistry, image_inputs: Callable[..., dict[str, Any]]
) -> None:
    """A preview says so, of a new image and of one that gets another base; what is deployed is not asked for again, and
    a registry that does not answer says nothing against a preview. Should it go later, the image is not made."""
    gone = f"{running.host}/accelform/runtime@sha256:{'0' * 64}"
    deployed = image_inputs()

    _, of_new = plugin.check(ImageProvider(), {**deployed, "base_image": gone})
    _, of_changed = plugin.check(ImageProvider(), {**deployed, "base_image": gone}, olds=deployed)
    asked = len(running.requests())
    checked, of_deployed = plugin.check(ImageProvider(), deployed, olds=deployed)
    silent = f"127.0.0.1:{free_port()}/runtime@sha256:{'0' * 64}"
    _, of_silent = plugin.check(ImageProvider(), {**deployed, "base_image": silent}, olds=deployed)

    assert of_new == of_changed
    assert of_new["base_image"].startswith(
        f"base_image {gone} is not there: {running.host}/accelform/runtime has no sha"
    )
    assert (of_deployed, of_silent) == ({}, {})
    assert len(running.requests()) == asked
    with pytest.raises(grpc.RpcError, match=r"cannot use the base image .*: there is no sha256:000"):
        plugin.create(ImageProvider(), {**checked, "base_image": gone})
