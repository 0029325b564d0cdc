"""The runtime layer's choice of files, and the fingerprint that previews rely on."""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import accelform_runtime
from accelform.errors import RuntimeLayerError
from accelform.images import runtime_layer
from accelform.images.archive import tar_stream
from accelform.store import Store


@pytest.fixture
def runtime_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private copy of accelform_runtime, found before the installed one; its front is a small program."""
    copy = tmp_path / "sources" / "accelform_runtime"
    installed = Path(accelform_runtime.__path__[0])
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("__pycache__", "accelform-front"))
    (copy / runtime_layer.FRONT).write_text("#!/bin/sh\n")
    (copy / runtime_layer.FRONT).chmod(0o700)
    monkeypatch.delitem(sys.modules, "accelform_runtime")
    monkeypatch.syspath_prepend(str(copy.parent))
    return copy


def forget() -> None:
    """What is installed is looked up once in a process."""
    runtime_layer._closure.cache_clear()
    runtime_layer._packaged_files.cache_clear()


def test_the_fingerprint_follows_the_content(runtime_copy: Path) -> None:
    """Any change, addition or removal of a runtime source file changes it; times and bytecode do not."""
    before = runtime_layer.fingerprint()
    source = runtime_copy / "__init__.py"

    source.touch()
    (runtime_copy / "__pycache__").mkdir()
    (runtime_copy / "__pycache__/x.cpython-311.pyc").write_bytes(b"bytecode")
    assert runtime_layer.fingerprint() == before

    content = source.read_bytes()
    source.write_bytes(content + b"\n")
    changed = runtime_layer.fingerprint()
    source.write_bytes(content)
    (runtime_copy / "extra.json").write_text("{}")
    added = runtime_layer.fingerprint()
    (runtime_copy / "extra.json").unlink()
    (runtime_copy / "py.typed").unlink()
    removed = runtime_layer.fingerprint()

    assert len({before, changed, added, removed}) == 4


def test_programs_stay_programs(runtime_copy: Path, tmp_path: Path) -> None:
    """The front can be run from the layer, modules cannot; what the owner may run, everyone may, on every machine."""
    files = runtime_layer._runtime_files()
    (tmp_path / "layer.tar").write_bytes(b"".join(tar_stream(files)))
    with tarfile.open(tmp_path / "layer.tar") as layer:
        modes = {member.name: member.mode for member in layer if member.isfile()}

    folder = f"{runtime_layer.LAYER_FOLDER}/{runtime_layer.RUNTIME_PACKAGE}"
    assert modes[f"{folder}/{runtime_layer.FRONT}"] == 0o755
    assert modes[f"{folder}/__init__.py"] == 0o644
    before = runtime_layer.fingerprint()
    (runtime_copy / runtime_layer.FRONT).chmod(0o755)
    assert runtime_layer.fingerprint() == before
    (runtime_copy / runtime_layer.FRONT).chmod(0o644)
    assert runtime_layer.fingerprint() != before


def test_a_front_that_is_not_built_is_named(runtime_copy: Path) -> None:
    """Without the program that answers calls there is no layer; the error says how to get it."""
    (runtime_copy / runtime_layer.FRONT).unlink()

    with pytest.raises(RuntimeLayerError, match=r"accelform-front\)\. Install Go, then run `make up`"):
        runtime_layer.fingerprint()


def test_the_fingerprint_is_cheap_enough_for_previews(runtime_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Computing it reads the packages' lists of files and not the packages: a few megabytes at most."""
    opened: list[Path] = []
    real = io.open

    def counting(file: Any, *args: Any, **kwargs: Any) -> Any:
        opened.append(Path(file))
        return real(file, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(io, "open", counting)
        runtime_layer.fingerprint()

    assert opened, "what is read is seen"
    assert sum(path.stat().st_size for path in opened if path.exists()) < 16 << 20


def test_every_runtime_requirement_is_in_and_nothing_of_the_provider_side() -> None:
    """The layer holds what the server needs, transitively, and neither Pulumi nor the build tools."""
    names = runtime_layer._closure().keys()

    assert set(runtime_layer.RUNTIME_DISTRIBUTIONS) <= names
    assert "flatbuffers" in names, "onnxruntime needs it"
    assert not names & {"pulumi", "obstore", "onnx", "h5py", "supervisor", "pytest", "accelform", "ml-dtypes"}
    declared = {Requirement(text).name for text in metadata.requires("accelform") or []}
    assert set(runtime_layer.RUNTIME_DISTRIBUTIONS) <= declared


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("numpy/__init__.py", True),
        ("numpy/_core/_multiarray_umath.cpython-311-x86_64-linux-gnu.so", True),
        ("numpy.libs/libscipy_openblas64_.so", True),
        ("simplejpeg/_jpeg.cpython-311-x86_64-linux-gnu.so", True),
        ("numpy-2.4.6.dist-info/METADATA", True),
        ("numpy-2.4.6.dist-info/licenses/LICENSE.txt", True),
        ("somepackage-1.0.dist-info/LICENSE", True),
        ("somepackage-1.0.dist-info/LICENCE.rst", True),
        ("numpy-2.4.6.dist-info/RECORD", False),
        ("numpy-2.4.6.dist-info/direct_url.json", False),
        ("numpy/_core/tests/test_umath.py", False),
        ("numpy/__pycache__/__init__.cpython-311.pyc", False),
        ("numpy/__init__.pyi", False),
        ("numpy/_core/include/numpy/arrayobject.h", False),
        ("onnxruntime/transformers/optimizer.py", False),
        ("onnxruntime/capi/onnxruntime_pybind11_state.so", True),
        ("../../../bin/f2py", False),
    ],
)
def test_what_is_packed(name: str, packed: bool) -> None:
    """Code, libraries, data and licences are packed; tests, headers, stubs, bytecode and scripts are not."""
    assert runtime_layer._is_packed(name) is packed


def test_every_packed_distribution_brings_its_licence(runtime_copy: Path) -> None:
    """Where a wheel carries a licence file, the layer carries it too."""
    packed = {file.name for file in runtime_layer._files()}
    for name, distribution in runtime_layer._closure().items():
        licences = [
            str(file)
            for file in distribution.files or []
            if ".dist-info/" in str(file)
            and any(word in file.name.upper() for word in ("LICENSE", "LICENCE", "NOTICE"))
        ]
        assert {f"opt/accelform/{licence}" for licence in licences} <= packed, name


def test_a_missing_package_is_named(runtime_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not installed stops the packing with its name and what to do."""
    monkeypatch.setattr(runtime_layer, "RUNTIME_DISTRIBUTIONS", ("no-such-package-here",))
    forget()
    try:
        with pytest.raises(RuntimeLayerError, match=r"no-such-package-here is not installed.*make up"):
            runtime_layer.fingerprint()
    finally:
        forget()


def test_a_damaged_cached_layer_is_packed_again(
    tmp_path: Path, runtime_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that was changed in the store, even at equal size, is not used again."""
    monkeypatch.setattr(runtime_layer, "RUNTIME_DISTRIBUTIONS", ("typing-extensions",))
    forget()
    try:
        store = Store.open(str(tmp_path / "store"))
        layer = runtime_layer.build(store)
        content = store.get(layer.key)
        assert store.root is not None
        for damaged in (content[:-1] + b"x", content[:-1], b""):
            (store.root / layer.key).write_bytes(damaged)
            assert runtime_layer.build(store) == layer
            assert store.get(layer.key) == content
        store.put(layer.key.replace(".tar", ".json"), b"{")
        assert runtime_layer.build(store) == layer
    finally:
        forget()
