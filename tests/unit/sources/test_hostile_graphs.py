from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.errors import (
    InvalidWeights,
    ModelSourceMissing,
    NotAModel,
    TensorFlowMissing,
    UnsafeModel,
    UserError,
    WeightsUnreadable,
)
from accelform.sources import open_source, read_source
from accelform.sources.wire import Malformed, fields

Write = Callable[..., Path]


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def part(number: int, content: bytes | str | int) -> bytes:
    """One protobuf field."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def node(name: str, operator: str) -> bytes:
    return part(1, name) + part(2, operator)


def graph_def(*operators: str, in_function: bool = False) -> bytes:
    nodes = [node(f"n{index}", operator) for index, operator in enumerate(operators)]
    if in_function:
        return part(1, node("image", "Placeholder")) + part(2, part(1, b"".join(part(3, body) for body in nodes)))
    return b"".join(part(1, body) for body in nodes)


def saved_model(folder: Path, graph: bytes, *, asset: str = "") -> Path:
    folder.mkdir(parents=True)
    meta = part(1, part(4, "serve")) + part(2, graph)
    if asset:
        meta += part(6, part(2, asset))
    (folder / "saved_model.pb").write_bytes(part(1, 1) + part(2, meta))
    return folder


@pytest.mark.parametrize(
    "operator",
    ["ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "InitializeTableFromTextFileV2", "PrintV2", "TextLineReaderV2",
     "TFRecordDataset", "MatchingFiles", "ImmutableConst", "DebugIdentityV2", "RpcCall", "CreateSummaryFileWriter"],
)  # fmt: skip
@pytest.mark.parametrize("in_function", [False, True])
def test_operators_that_reach_outside(tmp_path: Path, operator: str, in_function: bool) -> None:
    """They are refused by name before TensorFlow is even looked for, wherever in the graph they are."""
    graph = graph_def("Placeholder", operator, in_function=in_function)
    (tmp_path / "net.pb").write_bytes(graph)

    for path in (tmp_path / "net.pb", saved_model(tmp_path / "model", graph)):
        with pytest.raises(UnsafeModel, match=rf"{operator} \(node n1\)"):
            read_source(path)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd"])
def test_assets_with_paths(tmp_path: Path, name: str) -> None:
    """An asset that would be looked for outside the model is refused."""
    with pytest.raises(UnsafeModel, match="asks for the file"):
        read_source(saved_model(tmp_path / "model", graph_def("Placeholder"), asset=name))


def test_a_folder_with_a_library(tmp_path: Path) -> None:
    """A custom operator's library is not loaded, and not kept."""
    folder = saved_model(tmp_path / "model", graph_def("Placeholder"))
    (folder / "evil.so").write_bytes(b"\x7fELF")

    with pytest.raises(UnsafeModel, match=r"evil\.so"):
        read_source(folder)


def test_variables_behind_a_link(tmp_path: Path) -> None:
    """A model is made of its own files."""
    folder = saved_model(tmp_path / "model", graph_def("Placeholder"))
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.index").symlink_to("/etc/hostname")

    with pytest.raises(NotAModel, match="link"):
        read_source(folder)


def test_a_saved_model_without_its_graph(tmp_path: Path) -> None:
    """The message says which file is missing."""
    (tmp_path / "model" / "variables").mkdir(parents=True)

    with pytest.raises(NotAModel, match=r"saved_model\.pb|without a model"):
        read_source(tmp_path / "model")


def test_one_file_of_a_saved_model(tmp_path: Path) -> None:
    """Its folder is what to name."""
    folder = saved_model(tmp_path / "model", graph_def("Placeholder"))

    with pytest.raises(NotAModel, match="Name its folder"):
        read_source(folder / "saved_model.pb")


def test_without_tensorflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A harmless graph gets as far as TensorFlow; without one the message says what to install."""
    monkeypatch.delenv("ACCELFORM_TENSORFLOW_PYTHON", raising=False)
    monkeypatch.setattr("accelform.sources.process.ENVIRONMENT", Path("absent"))
    (tmp_path / "net.pb").write_bytes(graph_def("Placeholder", "Relu"))

    with pytest.raises(TensorFlowMissing, match=r"make tensorflow.*accelform\[tensorflow\]"):
        read_source(tmp_path / "net.pb")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("net.onnx", b"", "is empty"),
        ("net.onnx", b"\x80\x04K\x01.", "pickle"),
        ("net.pb", b"\x1f\x8b\x08", "gzip"),
        ("net.onnx", b"\x89HDF\r\n\x1a\n" + bytes(100), "net.onnx is an HDF5 file, not an ONNX file.*h5"),
        ("net.h5", graph_def("Placeholder"), "net.h5 is a frozen TensorFlow graph, not an HDF5 file"),
        ("net.pb", b"PK\x05\x06" + bytes(18), "net.pb is a zip archive"),
        ("net.onnx", graph_def("Placeholder"), "frozen TensorFlow graph, not an ONNX file"),
        ("net.onnx", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("net.keras", b"hello, this is text", "no kind that Accelform knows"),
        ("net.txt", b"hello", "must end in"),
    ],
)
def test_files_that_are_something_else(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """The content decides; a name that says otherwise is told what it is."""
    (tmp_path / name).write_bytes(content)

    with pytest.raises(NotAModel, match=message):
        read_source(tmp_path / name)


def test_not_a_regular_file(tmp_path: Path) -> None:
    """A pipe would be waited for without end."""
    os.mkfifo(tmp_path / "net.onnx")

    with pytest.raises(ModelSourceMissing, match="neither a file nor a folder"):
        read_source(tmp_path / "net.onnx")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_onnx_files_cut_off(write_onnx: Write, keep: float) -> None:
    """Wherever it ends too early, it is called damaged."""
    path = write_onnx()
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    with pytest.raises((WeightsUnreadable, NotAModel), match=r"net\.onnx"):
        read_source(path)


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/passwd", "sub/../../secret.bin", ""])
def test_external_data_outside(write_onnx: Write, tmp_path: Path, location: str) -> None:
    """Weights are read from the model's own folder only."""
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 12))
    path = write_onnx("model/net.onnx")
    move_data(path, location)

    with pytest.raises(UnsafeModel, match="outside its folder"):
        read_source(path)


def test_external_data_behind_a_link(write_onnx: Write, tmp_path: Path) -> None:
    """Neither through a linked file nor through a linked folder."""
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "secret.bin").write_bytes(bytes(1 << 12))
    path = write_onnx("model/net.onnx")
    (path.parent / "near.bin").symlink_to(tmp_path / "far" / "secret.bin")
    (path.parent / "near").symlink_to(tmp_path / "far")

    for location in ("near.bin", "near/secret.bin"):
        move_data(path, location)
        with pytest.raises(UnsafeModel, match="is a link"):
            read_source(path)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [(None, ModelSourceMissing, "missing beside it"), (bytes(10), WeightsUnreadable, "which has 10")],
)
def test_external_data_missing_or_short(
    write_onnx: Write, content: bytes | None, error: type[UserError], message: str
) -> None:
    """Half a copy is told apart from a whole one."""
    path = write_onnx()
    move_data(path, "net.data")
    if content is not None:
        (path.parent / "net.data").write_bytes(content)

    with pytest.raises(error, match=message):
        read_source(path)


def test_a_tensor_that_claims_more_than_it_has(write_onnx: Write) -> None:
    """A shape of terabytes over a few bytes allocates nothing."""
    path = write_onnx()
    model = onnx.load(path)
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20, 3, 3]
    path.write_bytes(model.SerializeToString())

    with pytest.raises((InvalidWeights, UserError), match=r"\bw\b"):
        read_source(path)


def test_graphs_nested_without_end(tmp_path: Path) -> None:
    """A hundred graphs inside one another are refused before anything walks down them."""
    graph = part(5, b"")
    for _ in range(100):
        graph = part(1, part(4, "If") + part(5, part(1, "then_branch") + part(6, graph)))
    (tmp_path / "net.onnx").write_bytes(part(1, 8) + part(7, graph) + part(8, part(2, 17)))

    with pytest.raises(UserError, match=r"nested more than|net\.onnx"):
        read_source(tmp_path / "net.onnx")


def test_a_file_with_wrong_bytes_in_it(write_onnx: Write) -> None:
    """Wherever a byte is wrong, the file is refused in words or read as what it says; nothing else happens."""
    path = write_onnx()
    content, random = path.read_bytes(), np.random.default_rng(3)
    for _ in range(40):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), int(random.integers(1, 6))):
            damaged[place] = random.integers(0, 256)
        path.write_bytes(damaged)
        with contextlib.suppress(UserError):
            open_source(read_source(path))


def test_names_that_are_no_text(write_onnx: Write) -> None:
    """An operator's name in bytes that mean nothing is damage, and said to be."""
    path = write_onnx()
    path.write_bytes(path.read_bytes().replace(b"Softmax", b"Softm\xffx"))

    with pytest.raises(WeightsUnreadable, match="no text"):
        read_source(path)


def test_custom_operators(write_onnx: Write) -> None:
    """An operator that would need a library is named."""
    path = write_onnx()
    model = onnx.load(path)
    model.graph.node[1].domain = "evil"
    model.opset_import.append(helper.make_opsetid("evil", 1))
    path.write_bytes(model.SerializeToString())

    with pytest.raises(UserError, match=r"evil\.Relu"):
        read_source(path)


def test_the_walker_stops_at_nonsense() -> None:
    """Random bytes end in Malformed or in fields, never in anything else."""
    random = np.random.default_rng(0)
    for length in range(200):
        content = random.integers(0, 256, length, dtype=np.uint8).tobytes()
        try:
            for _ in fields(content):
                pass
        except Malformed:
            pass


def move_data(path: Path, location: str) -> None:
    """Let the first initializer's data be elsewhere."""
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    size = len(numpy_helper.to_array(tensor).tobytes()) if tensor.raw_data else 432
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", "0"), ("length", str(size))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
