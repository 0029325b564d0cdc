from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from accelform.errors import NotAModel, UnsafeModel, UserError, WeightsUnreadable
from accelform.sources import archives, read_source

Write = Callable[..., Path]


def archive(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return path


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = 0o120777 << 16
    return info, target.encode()


def nothing_left(folder: Path) -> bool:
    return not any(path.name.startswith(("unpacked-", "import-")) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../escaped.onnx", b"x"), "leads outside"),
        (("/etc/escaped.onnx", b"x"), "leads outside"),
        (("..\\escaped.onnx", b"x"), "leads outside"),
        (("C:\\escaped.onnx", b"x"), "leads outside"),
        (link("net.onnx", "/etc/passwd"), "link or a device"),
    ],
)
def test_members_that_lead_outside(tmp_path: Path, member: tuple[str, bytes], message: str) -> None:
    """Nothing is unpacked of an archive with one of these."""
    path = archive(tmp_path / "in" / "model.zip", member) if (tmp_path / "in").mkdir() is None else tmp_path

    with pytest.raises(UnsafeModel, match=message):
        read_source(path)

    assert nothing_left(tmp_path)
    assert not list(tmp_path.rglob("*escaped*"))


def test_one_name_twice(tmp_path: Path) -> None:
    """Which of the two would count is left to nobody."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = archive(tmp_path / "model.zip", ("net.onnx", b"a"), ("net.onnx", b"b"))

    with pytest.raises(UnsafeModel, match=r"'net.onnx' twice"):
        read_source(path)


def test_a_bomb(tmp_path: Path) -> None:
    """A hundred kilobytes that become a hundred megabytes are refused by what the archive itself says."""
    path = archive(tmp_path / "model.zip", ("net.onnx", bytes(100 << 20)))
    assert path.stat().st_size < 200_000

    with pytest.raises(UnsafeModel, match="archive bomb"):
        read_source(path)


def test_a_bomb_that_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes in the archive's directory are claims: what comes out is counted too."""
    path = archive(tmp_path / "model.zip", ("net.onnx", bytes(1 << 20)))
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + offset
        content[place : place + 4] = struct.pack("<I", 10)
    path.write_bytes(content)
    monkeypatch.setattr(archives, "RATIO_COUNTS_FROM_BYTES", 1 << 10)

    with pytest.raises((UnsafeModel, WeightsUnreadable)):
        read_source(path)

    assert nothing_left(tmp_path)


def test_too_many_members(tmp_path: Path) -> None:
    """Ten thousand files are no model."""
    path = archive(tmp_path / "model.zip", *((f"{index}.txt", b"") for index in range(archives.MAX_MEMBERS + 1)))

    with pytest.raises(UnsafeModel, match="members"):
        read_source(path)


def test_an_encrypted_member(tmp_path: Path) -> None:
    """The message asks for an archive without a password."""
    path = archive(tmp_path / "model.zip", ("net.onnx", b"abc"))
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)

    with pytest.raises(UnsafeModel, match="encrypted"):
        read_source(path)


def test_cut_off_and_damaged(write_onnx: Write, tmp_path: Path) -> None:
    """A broken copy is told from a wrong file."""
    whole = archive(tmp_path / "whole.zip", ("net.onnx", write_onnx().read_bytes())).read_bytes()
    path = tmp_path / "model.zip"
    path.write_bytes(whole[:-30])

    with pytest.raises(WeightsUnreadable, match=r"model\.zip"):
        read_source(path)

    broken = bytearray(whole)
    broken[60] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(WeightsUnreadable, match=r"model\.zip can't be unpacked"):
        read_source(path)
    assert nothing_left(tmp_path)


def test_archives_in_archives(write_onnx: Write, tmp_path: Path) -> None:
    """Packing goes on for a few rounds only."""
    content = write_onnx().read_bytes()
    path = archive(tmp_path / "0.zip", ("net.onnx", content))
    for index in range(1, 6):
        path = archive(tmp_path / f"{index}.zip", (path.name, path.read_bytes()))

    with pytest.raises(NotAModel, match="packed more than"):
        read_source(path)
    assert nothing_left(tmp_path)


PLAIN = {"class_name": "Functional", "module": "keras.src.models.functional", "config": {"name": "net", "layers": []}}


def keras_file(path: Path, config: object, *extra: tuple[str, bytes], weights: bytes | None = None) -> Path:
    if weights is None:
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            file["layers/conv/vars/0"] = np.zeros(3, np.float32)
        weights = stream.getvalue()
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return archive(path, ("config.json", text), ("metadata.json", b"{}"), ("model.weights.h5", weights), *extra)


def with_layer(**layer: Any) -> dict[str, Any]:
    config = {"name": "net", "layers": [{"config": {"name": "inner"}, **layer}]}
    return {**PLAIN, "config": config}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (with_layer(class_name="Lambda", module="keras.layers"), "'Lambda' .at inner.*code"),
        (with_layer(class_name="TFSMLayer", module="keras.layers"), "code"),
        (with_layer(class_name="StringLookup", module="keras.layers", vocabulary="/etc/passwd"), "reads other files"),
        (with_layer(class_name="Evil", module="os"), "Python module 'os' for 'Evil'"),
        (with_layer(class_name="Conv2D", module="keras_evil.layers"), "keras_evil"),
        (with_layer(class_name="Evil", module=None, registered_name="package>Evil"), "package>Evil"),
        (with_layer(class_name="__lambda__", config={"value": "4wE="}), "code"),
        (with_layer(class_name="function", module="builtins", config="eval"), "Python object"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested more than"),
        (b'{"class_name": ', "can't be read as a Keras file"),
        (b"[" * 100_000, "can't be read as a Keras file"),
    ],
)
def test_keras_configurations_with_code(tmp_path: Path, config: object, message: str) -> None:
    """Before Keras sees a file, it holds Keras's own layers only; what is wrong and where is said."""
    with pytest.raises((UnsafeModel, WeightsUnreadable), match=message):
        read_source(keras_file(tmp_path / "net.keras", config))


@pytest.mark.parametrize(
    ("name", "message"), [("evil.pkl", "no Keras model has"), ("assets/vocabulary.txt", "brings a file for a layer")]
)
def test_keras_archives_with_other_members(tmp_path: Path, name: str, message: str) -> None:
    """A pickle beside the weights, or files for a layer, are refused unread."""
    with pytest.raises(UnsafeModel, match=message):
        read_source(keras_file(tmp_path / "net.keras", PLAIN, (name, b"\x80\x04K\x01.")))


def hdf5(path: Path, change: Callable[[h5py.File], None], config: str | None = None) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config or json.dumps(PLAIN)
        change(file)
    return path


def outside(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "f4", external=[("/etc/hostname", 0, 16)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.update({"w": h5py.ExternalLink("other.h5", "/w")}), "/w in net.h5 is a link"),
        (lambda file: file.update({"w": h5py.SoftLink("/x")}), "is a link"),
        (outside, "stored outside"),
        (lambda file: file.attrs.update({"evil": np.void(b"\x80\x04K\x01.")}), "attribute 'evil'.*pickled"),
        (lambda file: file.create_dataset("w", (4,), "f4", chunks=(4,), scaleoffset=2), "filter"),
        (lambda file: file.create_dataset("w", (1 << 20, 1 << 10), "f4", chunks=(8, 8)), "more than 3 GiB"),
    ],
)
def test_hdf5_files_that_reach_outside(tmp_path: Path, change: Callable[[h5py.File], None], message: str) -> None:
    """Links, external storage, pickles in attributes and plug-in filters are refused, and absurd sizes."""
    with pytest.raises(UnsafeModel, match=message):
        read_source(hdf5(tmp_path / "net.h5", change))


def test_hdf5_with_a_lambda_layer(tmp_path: Path) -> None:
    """Keras's safe mode does not look into the older format; this does."""
    config = json.dumps(with_layer(class_name="Lambda", module="keras.layers"))

    with pytest.raises(UnsafeModel, match="Lambda"):
        read_source(hdf5(tmp_path / "net.h5", lambda file: None, config))


def test_hdf5_without_a_network(tmp_path: Path) -> None:
    """Weights alone are for a featurizer specification, and the message says so."""
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["w"] = np.zeros(3, np.float32)

    with pytest.raises(WeightsUnreadable, match="weights without a network"):
        read_source(tmp_path / "net.h5")


def test_hdf5_cut_off(tmp_path: Path) -> None:
    """Damaged is not unsafe."""
    path = hdf5(tmp_path / "net.h5", lambda file: file.create_dataset("w", data=np.zeros(9999, np.float32)))
    path.write_bytes(path.read_bytes()[:3000])

    with pytest.raises(UserError, match=r"net\.h5 can't be read"):
        read_source(path)
