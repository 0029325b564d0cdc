from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from tests.support.networks import every_kind, seeded_parameters

from accelform_runtime.errors import BundleInvalid
from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import Packed, pack_parameters, read_packed, write_packed
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.numerics import load_profile

BRAINWAVE = load_profile("bw-a10-cnn")


@pytest.fixture(scope="module")
def network() -> Network:
    return every_kind()


@pytest.fixture(scope="module")
def parameters(network: Network) -> Parameters:
    return seeded_parameters(network)


def assert_same(expected: Parameters, found: Parameters) -> None:
    assert expected.keys() == found.keys()
    for name, arrays in expected.items():
        for part in ("weights", "scale", "bias"):
            left, right = getattr(arrays, part), getattr(found[name], part)
            assert (left is None) == (right is None)
            assert left is None or np.array_equal(left.view(np.uint32), right.view(np.uint32))


@pytest.mark.parametrize("profile", ["bw-a10-cnn", "msfp12", "mxint8", "bw-s10-rnn", "float32"])
def test_what_is_read_is_what_was_quantised(
    network: Network, parameters: Parameters, tmp_path: Path, profile: str
) -> None:
    """Bit for bit, short blocks included."""
    fmt = load_profile(profile)

    write_packed(tmp_path / "fpga.npz", network, parameters, fmt)
    packed = read_packed(tmp_path / "fpga.npz", network, fmt)

    assert_same(quantise_parameters(network, parameters, fmt), packed.parameters())


def test_arrays_are_bytes(network: Network, parameters: Parameters, tmp_path: Path) -> None:
    """A weight is a byte, and an exponent per block another; NumPy alone can read the file."""
    write_packed(tmp_path / "fpga.npz", network, parameters, BRAINWAVE)

    with np.load(tmp_path / "fpga.npz", allow_pickle=False) as file:
        arrays = {name: (array.dtype.name, array.shape) for name, array in file.items()}

    assert arrays["net/mixed/mantissas"] == ("int8", (256, 180, 3, 3))
    assert arrays["net/mixed/exponents"] == ("uint8", (256, 2, 3, 3))
    assert arrays["net/mixed/bias"] == ("float32", (256,))
    assert arrays["net/affine/scale"] == ("float32", (180,))
    assert "net/normal/bias" not in arrays


def test_same_arrays_same_bytes(network: Network, parameters: Parameters, tmp_path: Path) -> None:
    """From float32, quantised or packed arrays, at any time."""
    forms: tuple[Parameters | Packed, ...] = (
        parameters,
        quantise_parameters(network, parameters, BRAINWAVE),
        pack_parameters(network, parameters, BRAINWAVE),
    )
    for number, form in enumerate(forms):
        write_packed(tmp_path / str(number), network, form, BRAINWAVE)

    assert len({(tmp_path / str(number)).read_bytes() for number in range(len(forms))}) == 1


def rewritten(path: Path, **changed: bytes | None) -> None:
    """The file with members replaced, or left out where None."""
    with zipfile.ZipFile(path) as archive:
        members: dict[str, bytes | None] = {name: archive.read(name) for name in archive.namelist()}
    members |= {key.replace("__", "/") + ".npy": value for key, value in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def npy(array: np.ndarray, folder: Path) -> bytes:
    np.save(folder / "array.npy", array)
    return (folder / "array.npy").read_bytes()


def test_files_that_are_something_else_are_refused(network: Network, parameters: Parameters, tmp_path: Path) -> None:
    """Missing, misshapen, oversized and executable members, and no archive at all."""
    path = tmp_path / "fpga.npz"

    def refused(match: str, **changed: bytes | None) -> None:
        write_packed(path, network, parameters, BRAINWAVE)
        rewritten(path, **changed)
        with pytest.raises(BundleInvalid, match=match):
            read_packed(path, network, BRAINWAVE)

    refused("net/dense/bias", net__dense__bias=None)
    refused(r"net/dense/bias\.npy is float32 \[2, 5\]", net__dense__bias=npy(np.zeros((2, 5), np.float32), tmp_path))
    refused("float64|bytes", net__dense__bias=npy(np.zeros(10), tmp_path))
    refused("bytes", net__dense__bias=npy(np.zeros(10**6, np.float32), tmp_path))
    refused("pickle|bytes|header", net__dense__bias=npy(np.array([print] * 5), tmp_path))
    path.write_bytes(b"PK no archive")
    with pytest.raises(BundleInvalid, match=r"fpga\.npz"):
        read_packed(path, network, BRAINWAVE)
    with pytest.raises(BundleInvalid, match=r"missing\.npz"):
        read_packed(tmp_path / "missing.npz", network, BRAINWAVE)
