"""Threads, the device lock and the bundle's description."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from accelform_runtime.device.bundle import Bundle, FileInfo, verify
from accelform_runtime.device.lock import DeviceLock, Resident, read_resident
from accelform_runtime.device.threads import available_threads
from accelform_runtime.errors import BundleInvalid, ConfigInvalid, DeviceBusy
from accelform_runtime.worker.modelled import ModelledFpga

RESIDENT = Resident(service="digits", image="images/digits/1", pid=4711)


def cpus() -> int:
    return len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", None), ("50000 100000", 1), ("100000 100000", 1), ("150000 100000", 2), ("99900000 100000", None)],
)
def test_threads_follow_the_quota(tmp_path, quota, expected):
    """A cgroup quota bounds the threads, rounded up; without one it is the CPUs this process may use."""
    (tmp_path / "cpu.max").write_text(quota + "\n")

    assert available_threads(tmp_path) == min(cpus(), expected or cpus())


def test_threads_by_the_older_cgroup(tmp_path):
    """The first cgroup version's files count as well, and no files mean no quota."""
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")

    assert available_threads(tmp_path) == 1
    assert available_threads(tmp_path / "none") == cpus()


def test_one_lock_per_device(tmp_path):
    """A held device refuses the next one by the resident's name; a released one is free and names nobody."""
    path = tmp_path / "fpga.json"
    lock = DeviceLock(path, RESIDENT)

    with pytest.raises(DeviceBusy, match=r"'digits'.*images/digits/1.*4711"):
        DeviceLock(path, RESIDENT)
    assert read_resident(path) == RESIDENT

    lock.release()
    assert read_resident(path) is None
    DeviceLock(path, RESIDENT).release()


def test_longer_text_of_a_dead_resident(tmp_path):
    """What a killed resident left in the file is overwritten whole."""
    path = tmp_path / "fpga.json"
    path.write_text("x" * 5000)

    lock = DeviceLock(path, RESIDENT)

    assert read_resident(path) == RESIDENT
    lock.release()


def test_lock_without_a_folder(tmp_path):
    """A lock file that cannot be made is a configuration problem."""
    with pytest.raises(ConfigInvalid, match="device_lock_file"):
        DeviceLock(tmp_path / "none" / "fpga.json", RESIDENT)


FILE = {"sha256": "ab", "size_bytes": 3}
TENSOR = {"name": "in:0", "alias": "images", "encoding": "", "dtype": "DT_FLOAT", "shape": [-1, 8, 8, 3]}


def description() -> dict:
    return {
        "schema": 3,
        "name": "digits",
        "version": "7",
        "family": "resnet50",
        "number_format": "bw-a10-cnn",
        "method_name": "tensorflow/serving/predict",
        "inputs": [{"name": "in:0", "alias": "images", "encoding": "image", "dtype": "DT_STRING", "shape": [-1]}],
        "outputs": [{"name": "out:0", "alias": "output_alias", "dtype": "DT_FLOAT", "shape": [-1, 10]}],
        "labels": ["0"],
        "estimate": {"latency_ms": 1.78, "occupancy_ms": 1.5, "throughput_per_second": 600},
        "files": {"model.onnx": {"sha256": "sha256:ab", "size_bytes": 3}},
    }


def test_bundle(tmp_path):
    """The description is read as the conversion writes it; keys it adds do no harm."""
    (tmp_path / "bundle.json").write_text(json.dumps({**description(), "later": 1}))

    bundle = Bundle.read(tmp_path)

    assert (bundle.name, bundle.version, bundle.latency_ms, bundle.occupancy_ms) == ("digits", 7, 1.78, 1.5)
    assert bundle.inputs[0].alias == "images"
    assert bundle.outputs[0].shape == (-1, 10)
    assert bundle.takes_images
    assert bundle.files["model.onnx"] == FileInfo(sha256="ab", size_bytes=3)


def test_bundle_of_a_tensor_model(tmp_path):
    """Without an encoding the input is the tensor itself; a network that matches no family has no bitstream."""
    (tmp_path / "bundle.json").write_text(json.dumps({**description(), "inputs": [TENSOR], "family": None}))

    bundle = Bundle.read(tmp_path)

    assert not bundle.takes_images
    assert bundle.inputs[0].shape == (-1, 8, 8, 3)
    assert bundle.family == ""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "is of schema 2; this runtime reads schema 3"),
        ({"schema": "2"}, "no known schema"),
        ({"name": None, "inputs": []}, "exactly one is served"),
        ({"inputs": [TENSOR, {**TENSOR, "name": "b:0"}]}, "2 inputs"),
        ({"inputs": [{**TENSOR, "encoding": "jpeg"}]}, "encoding 'jpeg'"),
        ({"inputs": [{**TENSOR, "dtype": "DT_STRING"}]}, "no type of numbers"),
        ({"inputs": [{**TENSOR, "shape": [8, 8, 3]}]}, "no batch dimension"),
        ({"inputs": [{**TENSOR, "shape": [-1, 0, 3]}]}, "impossible shape"),
        ({"files": {"model.onnx": FILE, "../model.onnx": FILE}}, "not the name of a file beside it"),
        ({"files": {"model.onnx": FILE, "": FILE}}, "not the name of a file beside it"),
        ({"outputs": []}, "no output"),
        ({"estimate": {}}, "latency_ms"),
        ({"estimate": {"latency_ms": 1, "occupancy_ms": 2}}, "occupancy"),
        ({"files": {}}, "model.onnx"),
        ({"version": "one"}, "incomplete"),
        ({"family": "resnet\n50"}, "cannot be told in a header"),
        ({"inputs": "text"}, "incomplete"),
    ],
)
def test_damaged_bundles(tmp_path, change, words):
    """A description that lacks something is BundleInvalid, and says what to do."""
    (tmp_path / "bundle.json").write_text(json.dumps({**description(), **change}))

    with pytest.raises(BundleInvalid, match=words) as raised:
        Bundle.read(tmp_path)
    assert "deploy the image again" in str(raised.value)


@pytest.mark.parametrize("content", [None, "", "[]"])
def test_bundles_that_are_none(tmp_path, content):
    """A missing file, or one that is no JSON object, is BundleInvalid."""
    if content is not None:
        (tmp_path / "bundle.json").write_text(content)

    with pytest.raises(BundleInvalid):
        Bundle.read(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "cannot read"),
        (lambda path: path.write_bytes(b"[1, 2"), "5 bytes, its bundle says 6"),
        (lambda path: path.write_bytes(b"[1, 3]"), "its bundle says [0-9a-f]{64}"),
    ],
)
def test_every_listed_file_is_verified(tmp_path, damage, words):
    """A file that is missing, cut or altered is refused, also one that this runtime would never open."""
    files = {"model.onnx": b"model", "fpga.json": b"[1, 2]"}
    listed = {}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        listed[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    (tmp_path / "bundle.json").write_text(json.dumps({**description(), "files": listed}))
    bundle = Bundle.read(tmp_path)
    verify(tmp_path, bundle)

    damage(tmp_path / "fpga.json")

    with pytest.raises(BundleInvalid, match=words):
        verify(tmp_path, bundle)


def test_modelled_queue():
    """A call waits in modelled time for the occupancy of those before it, and a batch occupies once per image."""
    fpga = ModelledFpga(latency_ms=2.0, occupancy_ms=1.5)

    first = fpga.submit(10.0)
    second = fpga.submit(10.0, fpga.submit(10.0))
    later = fpga.submit(20.0)

    assert (first.queue_ms, first.latency_ms, first.occupancy_ms) == pytest.approx((0, 2.0, 1.5))
    assert (second.queue_ms, second.latency_ms, second.occupancy_ms) == pytest.approx((1.5, 3.5, 3.0))
    assert later.queue_ms == 0


def test_modelled_queue_of_calls_in_turns():
    """A batch that lets another call through takes longer by that call's image, and the other waits for one image."""
    fpga = ModelledFpga(latency_ms=2.0, occupancy_ms=1.5)

    begun = fpga.submit(10.0)
    other = fpga.submit(10.0)
    batch = fpga.submit(10.0, begun)

    assert (other.queue_ms, other.latency_ms) == pytest.approx((1.5, 2.0))
    assert (batch.queue_ms, batch.latency_ms, batch.occupancy_ms) == pytest.approx((0, 5.0, 3.0))
