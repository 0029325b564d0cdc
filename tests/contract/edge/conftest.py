"""Boxes in temporary folders, images whose server is small enough to start at once, and images with the real one."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import site
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.ports import free_port
from tests.support.serving import serving_of
from tests.support.waiting import wait_for

from accelform.targets.edge import EdgeBox, ServiceSpec
from accelform.targets.edge import processes as box_processes
from accelform.targets.edge.layout import Layout

OWNER = "project/stack/box"
SERVICE_OWNER = "project/stack/service"
PACKAGES = ("grpc", "grpc_health", "google", "typing_extensions.py")
RUNTIME_PACKAGES = (
    *("google", "numpy", "numpy.libs", "onnxruntime", "PIL", "pillow.libs", "ml_dtypes"),
    *("simplejpeg", "simplejpeg.libs", "flatbuffers", "packaging"),
)
TINY = Path(__file__).parents[1] / "runtime" / "conftest.py"


@dataclass
class Image:
    """An image of these tests; `unpacked` counts how often its content was written."""

    label: str
    behaviour: dict[str, Any]
    unpacked: int = 0
    before_end: Callable[[], None] = field(default=lambda: None)

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(json.dumps([self.label, self.behaviour]).encode()).hexdigest()

    def unpack(self, folder: Path) -> None:
        self.unpacked += 1
        packages = folder / "rootfs" / "opt" / "accelform"
        server = packages / "accelform_runtime" / "server"
        server.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("small_server.py"), server / "__main__.py")
        for name in PACKAGES:
            (packages / name).symlink_to(Path(site.getsitepackages()[0]) / name)
        (folder / "rootfs" / "model").mkdir()
        (folder / "rootfs" / "model" / "behaviour.json").write_text(json.dumps({"label": self.label, **self.behaviour}))
        self.before_end()


class RuntimeImage:
    """An image with a copy of the runtime and the tiny model of the runtime's own tests."""

    def __init__(self, label: str, tiny) -> None:
        self.label = label
        self.digest = f"sha256:{hashlib.sha256(label.encode()).hexdigest()}"
        self._tiny = tiny

    def unpack(self, folder: Path) -> None:
        import accelform_runtime

        packages = folder / "rootfs" / "opt" / "accelform"
        packages.mkdir(parents=True)
        source = Path(accelform_runtime.__file__).parent
        shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        installed = Path(str(importlib.metadata.distribution("numpy").locate_file("")))
        for entry in installed.iterdir():
            if entry.name in RUNTIME_PACKAGES:
                (packages / entry.name).symlink_to(entry)
        self._tiny.write_bundle(folder / "rootfs" / "model")


@dataclass
class Bench:
    """A box and what a test does with it all the time."""

    box: EdgeBox
    said: list[str] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        return Layout(self.box.root)

    def provision(self, agent_count: int = 1, owner: str = OWNER):
        return self.box.provision(
            owner=owner,
            name="box",
            agent_count=agent_count,
            vm_size="Standard_PB6s",
            location="eastus",
            progress=self.said.append,
        )

    def spec(self, image, *, port, name="digits", owner=SERVICE_OWNER, **settings) -> ServiceSpec:
        serving = serving_of(settings, port=port)
        return ServiceSpec(
            name=name,
            owner=owner,
            image_location=f"file:///store/images/{image.label}@{image.digest}",
            image_digest=image.digest,
            serving=serving,
            **{"keys": ("first-key-first-key", "second-key-second-key"), **settings},
        )

    def deploy(self, image: Image, *, port: int, timeout_seconds: float = 30, **settings):
        spec = self.spec(image, port=port, **settings)
        return self.box.deploy(spec, unpack=image.unpack, timeout_seconds=timeout_seconds, progress=self.said.append)

    def processes(self) -> list[int]:
        """Every process of the box that is alive, workers left out: they are their server's own matter."""
        layout = self.layout
        return box_processes.supervisors(layout.supervisor_config) + box_processes.servers(layout.root)

    def workers(self) -> list[int]:
        return box_processes.workers(self.layout.root)

    def server(self, name: str = "digits") -> int:
        (pid,) = box_processes.servers(self.layout.service(name))
        return pid

    def supervisor(self) -> int:
        (pid,) = box_processes.supervisors(self.layout.supervisor_config)
        return pid

    def eventually(self, condition: Callable[[], object], *, seconds: float = 0, what: str) -> None:
        """Waits for `condition`: for `seconds`, and on a slow machine as long as any test does."""
        wait_for(condition, what, max(seconds, 180))


@pytest.fixture(scope="module")
def tiny():
    """The module that makes the tiny model and images for it."""
    specification = importlib.util.spec_from_file_location("tiny_model", TINY)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    yield module
    del sys.modules[specification.name]


@pytest.fixture
def runtime_image(tiny) -> Callable[..., RuntimeImage]:
    return lambda label="v1": RuntimeImage(label, tiny)


@pytest.fixture
def make_image() -> Callable[..., Image]:
    return lambda label="v1", **behaviour: Image(label, behaviour)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(EdgeBox(tmp_path / "box", lock_timeout_seconds=60))
    yield bench
    # Supervisors first, so that they restart nothing.
    deadline = time.monotonic() + 20
    while (left := bench.processes()) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    assert left == [], "processes outlived the test"
    bench.layout.socket.unlink(missing_ok=True)


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def other_port() -> int:
    return free_port()
