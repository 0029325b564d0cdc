"""Base images built for real, with buildah and without any builder, and what goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import registries
from tests.support.base_images import push_base
from tests.support.ports import free_port
from tests.support.registries import RunningRegistry
from tests.unit.images.test_rootfs import make

from accelform.images import layout
from accelform.images.composing import PYTHON_LABEL, RUNTIME_LABEL
from accelform.images.context import write_context
from accelform.images.runtime_layer import fingerprint
from accelform.registry import Connection, Repository, parse

pytestmark = pytest.mark.timeout(300)
QUICKLY = """
from accelform.cli.main import main
from accelform.images import base_image, compression
base_image.SMALL = compression.FAST
raise SystemExit(main())
"""
NO_BUILDAH = "needs buildah: apt-get install buildah"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with registries.registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def buildah(tmp_path: Path) -> list[str]:
    """The options with which buildah works as root and inside a container, with its files in the test's folder.

    Its unpacked layers would otherwise stay: `rmi` removes images, not the folder.
    """
    if shutil.which("buildah") is None:
        pytest.skip(NO_BUILDAH)
    if os.getuid() != 0:
        pytest.skip("only root may run buildah without a user namespace")
    storage = tmp_path / "containers"
    options = ("--storage-driver=vfs", f"--root={storage}/root", f"--runroot={storage}/run")
    return ["--builder", "buildah", *(f"--builder-option={option}" for option in options)]


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`accelform` with these arguments; it compresses less well than it does for people, and in a third of the time."""
    program = [sys.executable, "-c", QUICKLY]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=280, check=False)


def build(*arguments: str) -> str:
    """The reference that the command prints."""
    outcome = command("base-image", "build", *arguments)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


def configuration(reference: str) -> tuple[dict[str, Any], dict[str, Any]]:
    place = parse(reference)
    with Connection(place.registry) as connection:
        repository = Repository(connection=connection, name=place.repository)
        manifest = repository.manifest(place.digest)
        assert manifest is not None
        return manifest.document(), json.loads(repository.read_blob(manifest.document()["config"]["digest"]))


def check_runs_as_it_must(reference: str) -> dict[str, Any]:
    """User, entry point, environment and labels, whoever built it; returns the manifest."""
    manifest, config = configuration(reference)
    settings = config["config"]
    assert (config["os"], config["architecture"]) == ("linux", layout.architecture())
    assert settings["User"] == "65532:65532"
    assert settings["Entrypoint"] == ["python3", "-m", "accelform_runtime.server"]
    assert not settings.get("Cmd")
    assert {"PYTHONPATH=/opt/accelform", "PYTHONDONTWRITEBYTECODE=1"} <= set(settings["Env"])
    assert settings["Labels"][RUNTIME_LABEL] == fingerprint()
    assert settings["Labels"][PYTHON_LABEL] == "3.11"
    return manifest


def test_without_a_builder(tmp_path: Path, running: RunningRegistry) -> None:
    """A folder and its tar become a base; twice the same folder is twice the same digest, and nothing is sent again."""
    folder = make(tmp_path / "rootfs")
    with registries.wire(running.port) as wire:
        first = build("--rootfs", str(folder), "--push", f"{wire.host}/plain/base", "--builder", "none")
        sent = wire.sent_bytes
        second = build("--rootfs", str(folder), "--push", f"{wire.host}/plain/base", "--builder", "none")
        assert wire.sent_bytes - sent < 20_000
    with tarfile.open(tmp_path / "rootfs.tar.gz", "w:gz") as tar:
        tar.add(folder, arcname=".", filter=lambda row: None if row.isfifo() else row)
    from_tar = build("--rootfs", f"{tmp_path}/rootfs.tar.gz", "--push", f"{running.host}/plain/tar:7", "--builder=none")

    assert first == second
    assert first.partition("@")[0].endswith("/plain/base")
    manifest = check_runs_as_it_must(first.replace(wire.host, running.host))
    assert [layer["mediaType"] for layer in manifest["layers"]] == [f"{layout.LAYER_TYPE}+gzip"] * 2
    assert check_runs_as_it_must(from_tar)["layers"][1] == manifest["layers"][1], "the runtime is the same layer"
    with Connection(running.host) as connection:
        tagged = Repository(connection=connection, name="plain/tar").manifest("7")
    assert tagged is not None
    assert tagged.digest == from_tar.rpartition("@")[2]


def test_on_an_image_in_the_registry(running: RunningRegistry) -> None:
    """A root file system by digest is mounted; where the runtime is in it already nothing is added."""
    python = push_base(running.host, "library/python", labels={})
    reference = build("--rootfs", python, "--push", f"{running.host}/team/on-python", "--builder", "none")
    again = build("--rootfs", reference, "--push", f"{running.host}/team/on-itself", "--builder", "none")

    manifest = check_runs_as_it_must(reference)
    assert len(manifest["layers"]) == 2
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == python.rpartition("@")[2]
    assert check_runs_as_it_must(again)["layers"] == manifest["layers"]
    assert not [line for line in running.requests() if line.startswith("PATCH") and "on-itself" in line]


def test_with_buildah(tmp_path: Path, running: RunningRegistry, buildah: list[str]) -> None:
    """The Containerfile gives the same image as the own writer, the same digest twice, and leaves no image behind."""
    folder = make(tmp_path / "rootfs")
    arguments = ("--rootfs", str(folder), "--push", f"{running.host}/buildah/base", *buildah)
    first, second = build(*arguments), build(*arguments)
    left = subprocess.run(
        ["buildah", *(option.removeprefix("--builder-option=") for option in buildah[2:]), "images", "--quiet"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert first == second
    check_runs_as_it_must(first)
    assert left.stdout == ""


def test_with_buildah_on_an_image(running: RunningRegistry, tmp_path: Path, buildah: list[str]) -> None:
    """The root file system may be an image in a registry that buildah pulls."""
    written = build(
        "--rootfs", str(make(tmp_path / "rootfs")), "--push", f"{running.host}/rootfs/python", "--builder=none"
    )
    # buildah speaks TLS to registries unless its own configuration says otherwise.
    (tmp_path / "registries.conf").write_text(f'[[registry]]\nlocation = "{running.host}"\ninsecure = true\n')
    os.environ["CONTAINERS_REGISTRIES_CONF"] = str(tmp_path / "registries.conf")
    try:
        reference = build("--rootfs", written, "--push", f"{running.host}/buildah/on-image", *buildah)
    finally:
        del os.environ["CONTAINERS_REGISTRIES_CONF"]

    check_runs_as_it_must(reference)


def test_the_context_is_the_same_twice(tmp_path: Path) -> None:
    """Containerfile and tar are equal in two folders; the labels are filled in and only ROOTFS is left to give."""
    outcome = command("base-image", "context", str(tmp_path / "first"))
    assert outcome.returncode == 0, outcome.stderr
    second = write_context(tmp_path / "second")

    assert outcome.stdout.strip() == str(tmp_path / "first/Containerfile")
    assert sorted(path.name for path in second.folder.iterdir()) == ["Containerfile", "runtime.tar"]
    for name in ("Containerfile", "runtime.tar"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    lines = second.containerfile.read_text().splitlines()
    assert [line for line in lines if line.startswith("ARG ")] == [
        "ARG ROOTFS",
        f"ARG RUNTIME_FINGERPRINT={second.fingerprint}",
        "ARG PYTHON_VERSION=3.11",
    ]
    assert not [line for line in lines if line.startswith("RUN")]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--rootfs", "python:3.11", "--push", "REGISTRY/base"], 2, "as root file system: it must read HOST"),
        (["--rootfs", "docker.io/library/python:3.11", "--push", "REGISTRY/base"], 2, "names no digest"),
        (["--rootfs", "ROOTFS", "--push", "base"], 2, "as place for the base image"),
        (["--rootfs", "EMPTY", "--push", "REGISTRY/base", "--builder", "none"], 2, "it has no Python 3.11"),
        (["--rootfs", "ROOTFS", "--push", "NOWHERE/base", "--builder", "none"], 1, "did not answer"),
        (["--rootfs", "ROOTFS", "--push", "REGISTRY/base", "--builder", "podman"], 2, "podman: it is not on PATH"),
    ],
)
def test_what_goes_wrong_is_told(
    tmp_path: Path,
    running: RunningRegistry,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    told: str,
) -> None:
    """One line that says what, why and what to do; 2 where the user can fix it."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    (tmp_path / "empty").mkdir()
    values = {
        "REGISTRY/base": f"{running.host}/wrong/base",
        "NOWHERE/base": f"127.0.0.1:{free_port()}/base",
        "ROOTFS": str(make(tmp_path / "rootfs")),
        "EMPTY": str(tmp_path / "empty"),
    }
    outcome = command("base-image", "build", *(values.get(argument, argument) for argument in arguments))

    assert outcome.returncode == code
    assert told in outcome.stderr
    assert outcome.stdout == ""


DOCKER = """#!/bin/sh
case "$*" in
  --version) echo "Docker version 28.2.2, build e6534b4" ;;
  version*) {daemon} ;;
  *) echo "docker: unknown command: docker $1" >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("daemon", "reason"),
    [
        (
            "echo 'Cannot connect to the Docker daemon' >&2; exit 1",
            "docker is passed over: Cannot connect to the Docker",
        ),
    ],
)
def test_a_docker_that_cannot_build_is_passed_over(
    tmp_path: Path, running: RunningRegistry, monkeypatch: pytest.MonkeyPatch, daemon: str, reason: str
) -> None:
    """A client without a daemon, or without buildx, is no builder: the image is built without one, and asked for by
    name it is refused with the reason."""
    program = tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(DOCKER.format(daemon=daemon))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}/nowhere")
    arguments = ("base-image", "build", "--rootfs", str(make(tmp_path / "rootfs")), "--push", f"{running.host}/d/base")

    outcome = command(*arguments)
    refused = command(*arguments, "--builder", "docker")

    assert outcome.returncode == 0, outcome.stderr
    assert reason in outcome.stderr
    check_runs_as_it_must(outcome.stdout.strip())
    assert refused.returncode == 2
    assert "cannot build with docker: " + reason.partition(": ")[2] in refused.stderr


def test_a_builder_that_fails(tmp_path: Path, running: RunningRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last words are in the message, and how to do without it."""
    program = tmp_path / "bin/buildah"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 125\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    outcome = command(
        *("base-image", "build", "--rootfs", str(make(tmp_path / "rootfs"))),
        *("--push", f"{running.host}/fails/base", "--builder", "buildah"),
    )

    assert outcome.returncode == 2
    assert "cannot build with buildah: no space left on device" in outcome.stderr
    assert "--builder none" in outcome.stderr
