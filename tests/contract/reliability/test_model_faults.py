"""Models that are damaged, slow or gone: the one that serves keeps serving, and the reason is there to read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal

import pytest
from grpc import StatusCode
from onnx import TensorProto, helper
from tests.contract.runtime.conftest import INPUT, OUTPUT, write_bundle
from tests.support.census import children, is_gone, worker_of
from tests.support.reloads import MODEL, reloading, states

SERVING, NOT_SERVING = 1, 2
SLOW = 255


def unsupported() -> bytes:
    """A graph with an operator that no engine knows."""
    graph = helper.make_graph(
        [helper.make_node("Teleport", [INPUT], [OUTPUT])],
        "unsupported",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [1, "height", "width", 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, 10])],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


def replace_model(folder, model: bytes) -> None:
    """Puts a model there that its bundle vouches for."""
    (folder / "model.onnx").write_bytes(model)
    content = json.loads((folder / "bundle.json").read_text())
    content["files"] = {"model.onnx": {"sha256": hashlib.sha256(model).hexdigest(), "size_bytes": len(model)}}
    (folder / "bundle.json").write_text(json.dumps(content))


def truncate(folder) -> None:
    model = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(model[: len(model) // 2])


def flip(folder) -> None:
    model = bytearray((folder / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (folder / "model.onnx").write_bytes(model)


FAULTS = {
    "missing": lambda folder: (folder / "model.onnx").unlink(),
    "truncated": truncate,
    "wrong hash": flip,
    "unsupported operator": lambda folder: replace_model(folder, unsupported()),
    "no graph": lambda folder: replace_model(folder, b"\x00" * 1000),
    "description cut short": lambda folder: (folder / "bundle.json").write_text('{"schema": 3, "na'),
}


@pytest.fixture
def own(start, model_root):
    """A server of version 3 that may load what is below its model_root."""
    return start(
        model_folder=model_root / "digits" / "3",
        model_root=str(model_root),
        initial_delay_seconds=120.0,
        drain_seconds=600.0,
        replica_max_concurrent_requests=41,
    )


def version_of(own, message: bytes) -> int:
    return int(own.predict(message)[0].model_spec.version.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_model_does_not_start(start, model_root, told, fault):
    """A server with a model that cannot be served ends with exit code 2 and one line that says what is wrong."""
    folder = model_root / "digits" / "3"
    FAULTS[fault](folder)

    own = start(ready=False, model_folder=folder)

    assert own.process.wait(180) == 2
    (line,) = told(own, "error")
    assert line["kind"] == "BundleInvalid"
    assert "model" in line["message"]


def test_swaps_to_broken_models(own, model_root, image, request_of, eventually, told):
    """Each swap to a broken model is refused, the old one keeps serving, and GetModelStatus tells END and why."""
    worker = worker_of(own, eventually)
    for fault, damage in FAULTS.items():
        shutil.rmtree(model_root / "digits" / "4")
        damage(write_bundle(model_root / "digits" / "4", version="4"))

        call = reloading(own, "digits/4")

        assert call.code() is StatusCode.INVALID_ARGUMENT, fault
        assert "BundleInvalid" in call.details()
        assert str(model_root) not in call.details()
        found = states(own)
        assert found[3] == ("AVAILABLE", "")
        assert found[4] == ("END", call.details())
        assert version_of(own, request_of(image())) == 3
        assert own.health() == SERVING
        assert children(own.process.pid) == [worker]
    assert [line["state"] for line in told(own, "swap")] == ["loading", "kept"] * len(FAULTS)

    shutil.rmtree(model_root / "digits" / "4")
    write_bundle(model_root / "digits" / "4", version="4")
    assert reloading(own, "digits/4").code() is StatusCode.OK
    assert version_of(own, request_of(image())) == 4
    assert states(own) == {3: ("END", ""), 4: ("AVAILABLE", "")}


def test_the_version_that_serves_stays_available(own, model_root, image, request_of):
    """A failed swap to the version that is resident, and a good one, leave it AVAILABLE: it answers all the time."""
    truncate(model_root / "digits" / "3")
    assert reloading(own, "digits/3").code() is StatusCode.INVALID_ARGUMENT
    assert states(own) == {3: ("AVAILABLE", "")}
    assert version_of(own, request_of(image())) == 3

    shutil.rmtree(model_root / "digits" / "3")
    write_bundle(model_root / "digits" / "3", version="3")
    assert reloading(own, "digits/3").code() is StatusCode.OK
    assert states(own) == {3: ("AVAILABLE", "")}


def test_files_that_vanish(own, model_root, image, request_of, eventually, told):
    """A model that crashes after its files are gone stays NOT_SERVING and says why; with them it comes back."""
    folder, aside = model_root / "digits" / "3", model_root / "aside"
    folder.rename(aside)
    assert version_of(own, request_of(image())) == 3
    os.kill(worker_of(own, eventually), signal.SIGKILL)

    eventually(lambda: len([line for line in told(own, "restart") if line["state"] == "failed"]) >= 2, "two tries")
    assert own.health() == NOT_SERVING
    state, reason = states(own)[3]
    assert state == "LOADING"
    assert "BundleInvalid" in reason
    assert str(model_root) not in reason
    waiting = own.begin(request_of(image()))

    aside.rename(folder)

    assert waiting.code() is StatusCode.OK
    assert own.health() == SERVING
    assert states(own) == {3: ("AVAILABLE", "")}


def test_slow_loads(start, model_root, image, request_of, eventually):
    """A swap that takes longer than initial_delay_seconds is given up, the process with it, and the old model stays."""
    own = start(
        model_folder=model_root / "digits" / "3",
        model_root=str(model_root),
        initial_delay_seconds=3.0,
        replica_max_concurrent_requests=41,
    )
    worker = worker_of(own, eventually)
    call = reloading(own, "digits/4")
    loading = worker_of(own, eventually, other_than=worker)
    os.kill(loading, signal.SIGSTOP)
    assert states(own)[4][0] == "LOADING"
    assert version_of(own, request_of(image())) == 3

    assert call.code() is StatusCode.DEADLINE_EXCEEDED
    assert "initial_delay_seconds" in call.details()
    assert states(own) == {3: ("AVAILABLE", ""), 4: ("END", call.details())}
    assert is_gone(loading)
    assert version_of(own, request_of(image())) == 3


def test_a_new_model_that_crashes_while_it_loads(own, image, request_of, eventually):
    """A swap whose new process is lost is refused, and the old model stays."""
    worker = worker_of(own, eventually)
    call = reloading(own, "digits/4")
    os.kill(worker_of(own, eventually, other_than=worker), signal.SIGKILL)

    assert call.code() is StatusCode.INTERNAL
    assert states(own)[4][0] == "END"
    assert version_of(own, request_of(image())) == 3
    assert reloading(own, "digits/4").code() is StatusCode.OK


def test_two_swaps_at_once(own, eventually):
    """While one swap loads another one is ABORTED at once; the first one is not disturbed."""
    worker = worker_of(own, eventually)
    first = reloading(own, "digits/4")
    loading = worker_of(own, eventually, other_than=worker)
    os.kill(loading, signal.SIGSTOP)

    second = reloading(own, "digits/3")
    assert second.code() is StatusCode.ABORTED
    assert not first.done()
    os.kill(loading, signal.SIGCONT)

    assert first.code() is StatusCode.OK
    assert worker_of(own, eventually) == loading


def test_the_caller_of_a_swap_leaves(own, image, request_of, eventually):
    """A swap whose caller leaves before the model is loaded is given up; the old model stays, and swaps go on."""
    worker = worker_of(own, eventually)
    call = reloading(own, "digits/4")
    loading = worker_of(own, eventually, other_than=worker)
    os.kill(loading, signal.SIGSTOP)

    call.cancel()

    eventually(lambda: is_gone(loading), "the end of the load")
    eventually(lambda: states(own)[4][0] == "END", "END")
    assert version_of(own, request_of(image())) == 3
    assert reloading(own, "digits/4").code() is StatusCode.OK


def test_stopping_during_a_swap(own, image, request_of, eventually, told):
    """A swap that still loads when the service stops ends with UNAVAILABLE at once; accepted calls are answered."""
    worker = worker_of(own, eventually)
    calls = [own.begin(request_of(image(SLOW))) for _ in range(3)]
    swap = reloading(own, "digits/4")
    loading = worker_of(own, eventually, other_than=worker)
    os.kill(loading, signal.SIGSTOP)

    code = own.terminate()

    assert code == 0
    assert swap.code() is StatusCode.UNAVAILABLE
    assert "stopping" in swap.details()
    assert [call.code() for call in calls] == [StatusCode.OK] * 3
    assert is_gone(loading)
    assert is_gone(worker)
    assert told(own, "abandoned") == []


def test_swaps_while_calls_wait(own, image, request_of):
    """Calls that were accepted before a swap are answered by the model that had them, later ones by the new one."""
    before = [own.begin(request_of(image(SLOW))) for _ in range(3)]
    swap = reloading(own, "digits/4")

    assert swap.code() is StatusCode.OK
    assert version_of(own, request_of(image())) == 4
    assert [call.code() for call in before] == [StatusCode.OK] * 3


def escape(model_root, outside) -> list[str]:
    """Base paths that lead out of model_root."""
    (model_root / "link").symlink_to(outside, target_is_directory=True)
    (model_root / "parent").symlink_to(outside.parent, target_is_directory=True)
    (model_root / "versions").mkdir()
    (model_root / "versions" / "9").symlink_to(outside, target_is_directory=True)
    (model_root / "chain").symlink_to("link", target_is_directory=True)
    return [
        "../outside",
        "digits/../../outside",
        "digits/3/../../../outside",
        str(outside),
        f"{model_root}/../outside",
        "link",
        "chain",
        "parent/outside",
        "versions",
        "/",
        "/etc",
        "..",
        "\x00",
        "digits/3\x00/../../../outside",
        "nothing",
    ]


def test_paths_out_of_model_root(own, model_root, image, request_of, eventually):
    """Whatever leads out of model_root is NOT_FOUND, exactly like what is not there; nothing is loaded."""
    outside = write_bundle(model_root.parent / "outside", version="9")
    worker = worker_of(own, eventually)
    calls = {path: ended(reloading(own, path)) for path in escape(model_root, outside)}

    assert {path: call.code() for path, call in calls.items()} == dict.fromkeys(calls, StatusCode.NOT_FOUND)
    assert len({call.details() for call in calls.values()}) == 1
    assert worker_of(own, eventually) == worker
    assert states(own) == {3: ("AVAILABLE", "")}
    inside = [f"{model_root}/digits/4", "digits/../digits/3", "./digits/4"]
    for path in inside:
        assert reloading(own, path).code() is StatusCode.OK
    assert MODEL in told_model(own, request_of(image()))


def ended(call):
    """The call, once it has ended: of two swaps at once one is ABORTED."""
    call.exception()
    return call


def told_model(own, message: bytes) -> str:
    return str(own.predict(message)[0].model_spec.name)
