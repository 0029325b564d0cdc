"""NumPy archives, friendly and hostile."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from accelform.errors import WeightsUnreadable
from accelform.featurizers.weights import arrays
from accelform.featurizers.weights.npz import read_npz


class Trap:
    """Creates a file when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.target,)


def write_member(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_under_their_names(tmp_path: Path, save: object) -> None:
    """What savez wrote, names with slashes included, is what is read."""
    given: dict[str, np.ndarray] = {
        "net/conv1/weights": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        "net/b": np.array([1, 2], np.float16),
    }
    save(tmp_path / "a.npz", **given)  # type: ignore[operator]
    result = read_npz(tmp_path / "a.npz")

    assert list(result) == list(given)
    for name, array in given.items():
        np.testing.assert_array_equal(result[name], array)
        assert result[name].dtype == array.dtype


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    """An object array, a pickle named .npy and a pickle in place of the archive are refused without running."""
    target = tmp_path / "ran"
    np.savez(tmp_path / "object.npz", weights=np.array([Trap(target)], dtype=object))
    write_member(tmp_path / "pickled.npz", "weights.npy", pickle.dumps(Trap(target)))
    (tmp_path / "bare.npz").write_bytes(pickle.dumps(Trap(target)))
    for name in ("object.npz", "pickled.npz", "bare.npz"):
        with pytest.raises(WeightsUnreadable, match=name):
            read_npz(tmp_path / name)

    assert not target.exists()
    with zipfile.ZipFile(tmp_path / "pickled.npz") as archive:
        pickle.loads(archive.read("weights.npy"))
    assert target.exists(), "the trap itself works"


@pytest.mark.parametrize("dtype", ["<i4", "<U8", "|b1", "<c8", "<M8[s]"])
def test_other_types_are_refused(tmp_path: Path, dtype: str) -> None:
    """Integers, text, truth values, complex numbers and dates are no weights."""
    np.savez(tmp_path / "a.npz", weights=np.zeros(3, dtype=dtype))
    with pytest.raises(WeightsUnreadable, match="weights has type"):
        read_npz(tmp_path / "a.npz")


def test_a_false_shape_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    """A header that claims a petabyte is compared with the member's size first."""
    path = write_member(tmp_path / "a.npz", "weights.npy", header((1 << 48,)) + b"\0" * 64)
    with pytest.raises(WeightsUnreadable, match="claims 1125899906842624 bytes"):
        read_npz(path)


def test_a_zip_bomb_is_refused_by_its_declared_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that together unpack to more than the limit are never unpacked."""
    monkeypatch.setattr(arrays, "MAX_TOTAL_BYTES", 4 << 20)
    path = tmp_path / "a.npz"
    np.savez_compressed(path, allow_pickle=False, **{name: np.zeros(1 << 19, np.float32) for name in "abc"})
    assert path.stat().st_size < 32 << 10
    with pytest.raises(WeightsUnreadable, match="4 MiB once unpacked"):
        read_npz(path)


def test_a_false_member_size_does_not_help(tmp_path: Path) -> None:
    """An archive whose directory understates a member is damaged, not unpacked in full."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, weights=np.zeros(1 << 20, np.float32))
    content = path.read_bytes()
    true_size = ((1 << 22) + 128).to_bytes(4, "little")
    assert content.count(true_size) >= 1
    path.write_bytes(content.replace(true_size, (4096).to_bytes(4, "little")))
    with pytest.raises(WeightsUnreadable, match=r"can.t be read as a NumPy archive"):
        read_npz(path)


def test_damage_is_reported(tmp_path: Path) -> None:
    """Cut, flipped, empty and foreign files are unreadable, not tracebacks."""
    np.savez(tmp_path / "whole.npz", weights=np.arange(1000, dtype=np.float32))
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[2000] ^= 0xFF
    for number, content in enumerate((whole[:-30], whole[: len(whole) // 2], bytes(flipped), b"", b"not a zip" * 9)):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(content)
        with pytest.raises(WeightsUnreadable, match=f"{number}.npz can't be read as a NumPy archive"):
            read_npz(path)


def test_other_members_are_refused(tmp_path: Path) -> None:
    """An archive of something else is named as such."""
    with pytest.raises(WeightsUnreadable, match=r"'readme\.txt', which is no array"):
        read_npz(write_member(tmp_path / "a.npz", "readme.txt", b"hello"))
