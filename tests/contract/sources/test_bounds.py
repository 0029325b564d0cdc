"""Files that ask for the machine, read by a process that has little of it: an answer for little work, and no crumbs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from onnx import TensorProto, helper

MEMORY_BYTES = 2 << 30
READ = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from pathlib import Path
from accelform.errors import UserError
from accelform.sources import open_source, read_source
try:
    open_source(read_source(Path(sys.argv[1])))
except UserError as error:
    print(type(error).__name__, error)
"""


def sparse(path: Path, start: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)
    return path


def huge_onnx(folder: Path) -> Path:
    return sparse(folder / "net.onnx", b"\x08\x08\x3a", 3 << 30)


def huge_length(folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(b"\x08\x08\x3a\xff\xff\xff\xff\xff\xff\xff\x7f" + bytes(1000))
    return path


def huge_external(folder: Path) -> Path:
    sparse(folder / "net.data", b"", 8 << 30)
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 31], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "net.data"), ("length", str(8 << 30))):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph([helper.make_node("Relu", ["w"], ["y"])], "g", [], [], [tensor])
    path = folder / "net.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    return path


def huge_fill(folder: Path) -> Path:
    """A constant of a terabyte, written in ten bytes."""
    value = helper.make_tensor("s", TensorProto.INT64, [4], [1 << 10] * 4)
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["w"]),
        helper.make_node("Conv", ["image", "w"], ["y"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    path = folder / "net.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", [image], [output], [value])).SerializeToString())
    return path


def deep_folder(folder: Path) -> Path:
    inner = folder / "model"
    for _ in range(200):
        inner = inner / "a"
    inner.mkdir(parents=True)
    return folder / "model"


def keras_bomb(folder: Path) -> Path:
    path = folder / "net.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", b'{"a": "' + b" " * (80 << 20) + b'"}')
        archive.writestr("metadata.json", b"{}")
        archive.writestr("model.weights.h5", b"")
    return path


def claimed_hdf5(folder: Path) -> Path:
    path = folder / "net.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_dataset("w", (1 << 40,), np.float32, chunks=(1 << 10,), compression="gzip")
    return path


@pytest.mark.parametrize(
    "make",
    [huge_onnx, huge_length, huge_external, huge_fill, deep_folder, keras_bomb, claimed_hdf5],
)
def test_one_clear_error_in_seconds(make: Callable[[Path], Path], tmp_path: Path) -> None:
    """Little memory, no time, one message that names the file, and the folder as it was."""
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    outcome = subprocess.run(
        [sys.executable, "-c", READ.format(limit=MEMORY_BYTES), str(path)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr[-2000:]
    assert outcome.stderr == ""
    name, _, message = outcome.stdout.partition(" ")
    assert name in ("NotAModel", "WeightsUnreadable", "UnsafeModel", "UnsupportedModel", "InvalidWeights"), (
        outcome.stdout
    )
    assert path.name in message
    assert "Traceback" not in message
    assert len(message) < 1000
    assert [found for found in sorted(tmp_path.rglob("*")) if "imports" not in found.parts] == before


def test_the_limit_is_one() -> None:
    """The processes above really have no more than that."""
    code = READ.format(limit=MEMORY_BYTES) + f"\nbytearray({MEMORY_BYTES})"

    outcome = subprocess.run([sys.executable, "-c", code, "absent.onnx"], capture_output=True, text=True, check=False)

    assert "MemoryError" in outcome.stderr
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != MEMORY_BYTES
