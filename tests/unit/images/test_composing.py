"""Layers on a base: what of the base stays, what does not, and that equal inputs give equal bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from accelform.errors import BaseImageUnusable
from accelform.images import layout
from accelform.images.based import runtime_layers
from accelform.images.composing import RUNTIME_LABEL, SCRATCH, Base, compose, plain_layer
from accelform.images.layout import Descriptor
from accelform.registry.blobs import of_bytes

DIGEST = "sha256:" + "1" * 64
BASE = Base(
    layers=(Descriptor(media_type=f"{layout.LAYER_TYPE}+gzip", digest=DIGEST, size_bytes=10),),
    config={
        "architecture": "arm64",
        "variant": "v8",
        "os": "linux",
        "author": "somebody",
        "config": {
            "User": "root",
            "Env": ["PATH=/venv/bin:/usr/bin", "PYTHONPATH=/elsewhere"],
            "Cmd": ["bash"],
            "Healthcheck": {"Test": ["CMD", "true"]},
            "Labels": {"maker": "debian"},
            "StopSignal": "SIGINT",
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "2" * 64]},
        "history": [{"created_by": "ADD rootfs"}, {"created_by": "ENV", "empty_layer": True}],
    },
    reference=f"registry.example.com/base@{DIGEST}",
)
LAYER = plain_layer(of_bytes(b"model"), "the model")


def composed(base: Base = BASE) -> tuple[dict[str, Any], dict[str, Any]]:
    image = compose(base, [LAYER], labels={"a": "b"}, annotations={"c": "d"}, python_path="/opt/accelform")
    return json.loads(image.manifest), json.loads(image.config)


def test_the_base_stays_below() -> None:
    """Its machine, layers, history, other environment and labels stay; its start, user and Python path do not."""
    manifest, config = composed()

    assert [layer["digest"] for layer in manifest["layers"]] == [DIGEST, LAYER.diff_id]
    assert manifest["annotations"] == {
        "c": "d",
        "org.opencontainers.image.base.name": "registry.example.com/base",
        "org.opencontainers.image.base.digest": DIGEST,
    }
    assert (config["architecture"], config["variant"], config["created"]) == ("arm64", "v8", layout.CREATED)
    assert config["rootfs"]["diff_ids"] == ["sha256:" + "2" * 64, LAYER.diff_id]
    assert [row["created_by"] for row in config["history"]] == ["ADD rootfs", "ENV", "the model"]
    assert config["config"] == {
        "User": "65532:65532",
        "WorkingDir": "/",
        "Entrypoint": ["python3", "-m", "accelform_runtime.server"],
        "Env": ["PATH=/venv/bin:/usr/bin", "PYTHONPATH=/opt/accelform", "PYTHONDONTWRITEBYTECODE=1"],
        "Labels": {"maker": "debian", "a": "b"},
        "StopSignal": "SIGINT",
    }


def test_equal_inputs_give_equal_bytes() -> None:
    """And the base is not changed by what is put on it."""
    before = json.dumps(BASE.config)
    first, second = (
        compose(BASE, [LAYER], labels={"a": "b"}, annotations={}, python_path="/opt/accelform") for _ in range(2)
    )

    assert (first.manifest, first.config, first.digest) == (second.manifest, second.config, second.digest)
    assert json.dumps(BASE.config) == before


def test_on_nothing() -> None:
    """Without a base the image is for this machine, with the usual path."""
    manifest, config = composed(SCRATCH)

    assert len(manifest["layers"]) == 1
    assert (config["architecture"], config["os"]) == (layout.architecture(), "linux")
    assert config["config"]["Env"][0].startswith("PATH=/usr/local/sbin:")
    assert manifest["annotations"] == {"c": "d"}


def test_dockers_layers_become_ocis() -> None:
    """Docker's layer types are renamed, which changes no byte of theirs; layers that may not be copied are refused."""
    docker = Descriptor(media_type="application/vnd.docker.image.rootfs.diff.tar.gzip", digest=DIGEST, size_bytes=10)
    foreign = replace(docker, media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")

    manifest, _ = composed(replace(BASE, layers=(docker,)))
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    with pytest.raises(BaseImageUnusable, match="which may not be copied"):
        composed(replace(BASE, layers=(foreign,)))


def test_a_base_that_contradicts_itself() -> None:
    """Layers and diff_ids must be as many; a history that does not fit is replaced, as runtimes count it."""
    with pytest.raises(BaseImageUnusable, match="tells of 1 layers"):
        composed(replace(BASE, layers=BASE.layers * 2))
    _, config = composed(replace(BASE, config={**BASE.config, "history": [{"created_by": "x"}] * 3}))
    assert len(config["history"]) == 2


def test_the_runtime_goes_on_once() -> None:
    """A base with this runtime gets no layer, one without it gets it, one with another gets that hidden first."""
    runtime = plain_layer(of_bytes(b"runtime"), "the runtime")

    def on(labels: dict[str, str]) -> list[str]:
        base = replace(BASE, config={**BASE.config, "config": {"Labels": labels}})
        return [layer.description for layer in runtime_layers(base, fingerprint="sha256:a", runtime=runtime)]

    assert on({RUNTIME_LABEL: "sha256:a"}) == []
    assert on({}) == ["the runtime"]
    assert on({RUNTIME_LABEL: "sha256:b"}) == ["without the runtime below", "the runtime"]
