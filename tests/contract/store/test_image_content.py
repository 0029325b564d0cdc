"""The real runtime layer, unpacked, runs by itself: nothing from the working tree or the installed packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from accelform.images import oci, runtime_layer
from accelform.images.oci import UnpackedImage
from accelform.store import Store

RUN_EVERYTHING = """
import importlib, json, pkgutil, sys
import numpy, onnxruntime
import accelform_runtime

names = ["simplejpeg", "PIL.Image", "PIL.JpegImagePlugin", "google.protobuf.message"]
ELSEWHERE = ("accelform_runtime.client", "accelform_runtime.tokens")  # for who calls, which the image does not
for module in pkgutil.walk_packages(accelform_runtime.__path__, "accelform_runtime."):
    # libaccelform_native is for ctypes and no module
    if not module.name.endswith(".libaccelform_native") and not module.name.startswith(ELSEWHERE):
        names.append(module.name)
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(result,) = session.run(None, {"x": numpy.arange(4, dtype=numpy.float32)})
files = sorted({module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)})
print(json.dumps({"result": result.tolist(), "files": files, "modules": names}))
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> UnpackedImage:
    """An image with the real runtime layer and a model that doubles its input, unpacked."""
    folder = tmp_path_factory.mktemp("image")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / "model.onnx")
    store = Store.open(str(folder / "store"))
    built = oci.build_image(
        store,
        name="doubler",
        version=1,
        model_files={"model.onnx": folder / "model.onnx"},
        runtime_layer=runtime_layer.build(store),
    )
    return oci.unpack(store, built.location, folder / "unpacked")


def run_inside(image: UnpackedImage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the interpreter with the image's packages only: no site packages, no current folder, a clean environment."""
    python_path = str(image.rootfs / image.environment["PYTHONPATH"].lstrip("/"))
    interpreter = os.path.realpath(sys.executable)
    return subprocess.run(
        [interpreter, "-P", "-s", "-S", *arguments],
        cwd="/",
        env={"PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_runtime_module_imports_and_a_model_runs(image: UnpackedImage) -> None:
    """All of accelform_runtime and its packages load from the image, and onnxruntime computes with its model."""
    finished = run_inside(image, "-c", RUN_EVERYTHING, str(image.rootfs / "model/model.onnx"))
    assert finished.returncode == 0, finished.stderr
    report = json.loads(finished.stdout)

    assert report["result"] == [0.0, 2.0, 4.0, 6.0]
    assert "accelform_runtime.server" in report["modules"]
    standard_library = str(Path(os.__file__).parent)
    strange = [
        file
        for file in report["files"]
        if not file.startswith((str(image.rootfs), standard_library)) or "site-packages" in file
    ]
    assert strange == []


def test_the_front_is_a_program(image: UnpackedImage) -> None:
    """What answers the calls can be run from the image."""
    front = image.rootfs / runtime_layer.LAYER_FOLDER / runtime_layer.RUNTIME_PACKAGE / runtime_layer.FRONT

    assert front.stat().st_mode & 0o777 == 0o755


def test_the_server_starts_from_the_image(image: UnpackedImage, tmp_path: Path) -> None:
    """The image's entrypoint is the server: without its settings it ends with the user's exit code and says why."""
    finished = run_inside(
        image,
        *image.entrypoint[1:],
        "--model-dir",
        str(image.rootfs / "model"),
        "--config",
        str(tmp_path / "none.json"),
    )

    assert image.entrypoint[0] == "python3"
    assert finished.returncode == 2, finished.stderr
    assert "none.json" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_image_is_lean_and_keeps_the_licences(image: UnpackedImage) -> None:
    """No tests, bytecode, headers or pip's notes are in; every package's metadata and licence texts are."""
    root = image.rootfs / "opt/accelform"
    files = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]

    assert not [
        file for file in files if file.endswith((".pyc", ".pyi", ".h")) or "/tests/" in file or "RECORD" in file
    ]
    assert sum((root / file).stat().st_size for file in files) < 200_000_000
    for package in runtime_layer.RUNTIME_DISTRIBUTIONS:
        about = [file for file in files if file.lower().startswith(package.replace("-", "_")) and ".dist-info/" in file]
        assert any(file.endswith("/METADATA") for file in about), package
    assert [file for file in files if "licenses/" in file and file.startswith("numpy-")]
