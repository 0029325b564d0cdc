"""A device plugin process beside a stand-in of a kubelet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.support.kubelet import Kubelet, PodResources

RESOURCE = "microsoft.com/fpga_catapult"


@dataclass
class Plugin:
    """A running device plugin."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def events(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of one event."""
        lines = [json.loads(line) for line in self.log_path.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["event"] == event]


@dataclass
class Node:
    """A node's folders, its kubelet, and its plugins."""

    folder: Path
    kubelet: Kubelet
    plugins: list[Plugin]

    @property
    def devices(self) -> Path:
        """The folder of the FPGAs."""
        return self.folder / "fpga"

    def start(self, *flags: str, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Plugin:
        """Starts a plugin with this node's folders and further flags."""
        log_path = self.folder / f"log-{len(self.plugins)}"
        command = [
            *prefix,
            *(sys.executable, "-s", "-m", "accelform_runtime.device_plugin"),
            *("--devices-folder", str(self.devices), "--kubelet-folder", str(self.kubelet.folder)),
            *("--pod-resources-socket", str(self.folder / "pods.sock")),
            *("--service-account-folder", str(self.folder / "account")),
            *flags,
        ]
        known = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
        with log_path.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**known, **(env or {})})
        self.plugins.append(Plugin(process, log_path))
        return self.plugins[-1]

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m accelform_runtime.device_plugin WORDS` for this node's FPGAs."""
        command = [sys.executable, "-s", "-m", "accelform_runtime.device_plugin", *words]
        return subprocess.run(
            [*command, "--devices-folder", str(self.devices)], capture_output=True, text=True, timeout=30, check=False
        )

    def fault(self, id_: str, reason: str) -> None:
        """Makes an FPGA unusable by its file."""
        (self.devices / id_ / "fault").write_text(reason)

    def heal(self, id_: str) -> None:
        """Makes it usable again."""
        (self.devices / id_ / "fault").unlink()


@pytest.fixture
def node() -> Iterator[Node]:
    """A node whose kubelet runs. Its folder's path is short, as a socket's has to be."""
    with tempfile.TemporaryDirectory(prefix="accelform-node-") as name:
        folder = Path(name)
        (folder / "kubelet").mkdir()
        kubelet = Kubelet(folder / "kubelet")
        kubelet.start()
        made = Node(folder, kubelet, [])
        yield made
        for plugin in made.plugins:
            if plugin.process.poll() is None:
                plugin.process.kill()
            plugin.process.wait(180)
        kubelet.stop()


@pytest.fixture
def known(node: Node, eventually: Callable[..., Any]) -> Callable[..., Plugin]:
    """known(*flags): a plugin that has registered and whose list is watched."""

    def start(*flags: str, **options: Any) -> Plugin:
        before = len(node.kubelet.registered)
        plugin = node.start(*flags, **options)
        eventually(lambda: len(node.kubelet.registered) > before, "the registration")
        eventually(lambda: node.kubelet.watch and node.kubelet.watch.now, "the list")
        return plugin

    return start


@pytest.fixture
def pod_resources(node: Node) -> Iterator[PodResources]:
    """The node's API of pods' resources."""
    served = PodResources(node.folder / "pods.sock")
    yield served
    served.stop()
