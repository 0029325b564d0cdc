"""How long the commands take that people wait for: up, nothing to do, preview, image build, destroy."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.bundles import converted
from benchmarks.measure import summarise, timed
from benchmarks.stacks import QUIET, copy_project, environment

ROUNDS = 3


def run() -> dict[str, Any]:
    """Milliseconds per command over ROUNDS fresh stacks."""
    seconds: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="accelform-bench-") as folder:
            _one_stack(Path(folder), seconds)
    return {name: summarise(values).as_dict() for name, values in seconds.items()}


def _one_stack(folder: Path, seconds: dict[str, list[float]]) -> None:
    copy_project(folder, "infra", "stacks", "examples")

    def pulumi(*arguments: str) -> None:
        subprocess.run(
            ["pulumi", *arguments, *QUIET],
            cwd=folder,
            env=environment(folder),
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=300,
        )

    def step(name: str, *arguments: str) -> None:
        seconds.setdefault(name, []).append(timed(lambda: pulumi(*arguments)))

    pulumi("stack", "init", "edge")
    pulumi("config", "set", "accelform:port", "50991")
    step("preview_of_a_new_stack", "preview")
    try:
        step("up_of_a_new_stack", "up", "--yes")
        step("up_with_nothing_to_do", "up", "--yes")
        step("preview_with_nothing_to_do", "preview")
        pulumi("config", "set", "accelform:model_path", "examples/digits/model-parity.yaml")
        step("up_with_another_classifier", "up", "--yes")
    finally:
        step("destroy", "destroy", "--yes")
    seconds.setdefault("image_build", []).append(_image_build(folder))


def _image_build(folder: Path) -> float:
    """Seconds to build the image of a converted model, the runtime layer being in the store already."""
    from accelform.images import oci, runtime_layer
    from accelform.store import Store, versions

    store = Store.open((folder / "store").as_uri())
    bundle = converted(folder / "bundle", "bw-a10-cnn")
    layer = runtime_layer.build(store)
    allocation = versions.allocate(store, "images", "benchmark", owner="bench/bench/image", digest="sha256:0")
    files = {path.name: path for path in bundle.iterdir()}
    return timed(
        lambda: oci.build_image(
            store, name="benchmark", version=allocation.version, model_files=files, runtime_layer=layer
        )
    )
