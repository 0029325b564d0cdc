"""A service's start and end: what is refused, in which words, and what is left behind."""

from __future__ import annotations

import json
import shutil
import signal
import socket

import grpc
import pytest
from grpc import StatusCode

SLOW = 255


def failure(service) -> tuple[int, dict]:
    """Exit code and error line of a server that does not start."""
    code = service.process.wait(30)
    return code, service.events("error")[-1]


def test_drain_finishes_accepted_calls(start, image, request_of, eventually):
    """After SIGTERM running and waiting calls finish, new ones are turned away, and the server exits with 0."""
    own = start(replica_max_concurrent_requests=3, drain_seconds=60.0)
    calls = [own.begin(request_of(image(SLOW))) for _ in range(3)]
    own.process.send_signal(signal.SIGTERM)
    eventually(lambda: own.events("draining"), "the drain")

    error = own.refusal(request_of(image()), timeout=5)

    assert error.code() is StatusCode.UNAVAILABLE
    assert own.process.wait(90) == 0
    assert [call.code() for call in calls] == [StatusCode.OK] * 3
    assert own.events("stopped")


def test_drain_ends_in_time(start, image, request_of):
    """Calls that take longer than drain_seconds are given up, and the exit code is still 0."""
    own = start(drain_seconds=0.5, replica_max_concurrent_requests=2)
    # Both of many values: between two of them the FPGA may turn to the other call, and a quick one would be answered.
    calls = [own.begin(request_of(*[image(SLOW)] * 30)) for _ in range(2)]

    own.process.send_signal(signal.SIGTERM)

    assert own.process.wait(120) == 0
    assert [call.code() for call in calls] == [StatusCode.UNAVAILABLE] * 2
    assert own.events("abandoned")[0]["calls"] == 2


def test_port_is_free_afterwards(start, image, request_of):
    """The port of a stopped server can be taken by the next one at once."""
    first = start()
    first.predict(request_of(image()))
    assert first.terminate() == 0

    second = start(port=first.port)

    assert second.port == first.port


def test_port_in_use(start):
    """A taken port is exit code 2 and a message that names it; the FPGA is free again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        own = start(ready=False, port=port)
        code, line = failure(own)

    assert code == 2
    assert line["kind"] == "AddressUnavailable"
    assert f"127.0.0.1:{port}" in line["message"]
    assert "in use" in line["message"]
    assert (own.folder / "fpga.json").read_text() == ""


def test_two_servers_never_share_a_port(start, service):
    """A second server on a server's port fails instead of taking half of its calls."""
    code, line = failure(start(ready=False, port=service.port))

    assert code == 2
    assert "in use" in line["message"]


def test_one_resident_per_fpga(start):
    """A second server on the same FPGA is exit code 2 and learns service, image and process of the resident."""
    first = start(name="first-service")
    lock = str(first.folder / "fpga.json")

    code, line = failure(start(ready=False, name="second-service", device_lock_file=lock))

    assert code == 2
    assert line["kind"] == "DeviceBusy"
    for part in ("first-service", "images/digits/1@sha256:abc", str(first.process.pid)):
        assert part in line["message"]
    assert json.loads((first.folder / "fpga.json").read_text())["service"] == "first-service"


def test_killed_resident_frees_the_fpga(start):
    """After kill -9 the next server takes the FPGA, whatever the lock file still says."""
    first = start(name="first-service")
    first.process.kill()
    first.process.wait(180)

    second = start(name="second-service", device_lock_file=str(first.folder / "fpga.json"))

    assert json.loads((first.folder / "fpga.json").read_text())["service"] == "second-service"
    assert second.health() == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: model[:-1] + bytes([model[-1] ^ 1]), "sha256"),
        (lambda model: model[: len(model) // 2], "bytes"),
        (lambda model: None, "No such file"),
    ],
)
def test_altered_model(start, bundle, tmp_path, damage, words):
    """A model file that does not match the bundle is exit code 2, and is never served."""
    copy = tmp_path / "altered"
    shutil.copytree(bundle, copy)
    changed = damage((copy / "model.onnx").read_bytes())
    (copy / "model.onnx").unlink() if changed is None else (copy / "model.onnx").write_bytes(changed)

    code, line = failure(start(ready=False, model_folder=copy))

    assert code == 2
    assert line["kind"] == "BundleInvalid"
    assert words in line["message"]


def test_bundle_that_does_not_fit_its_graph(start, bundle, tmp_path):
    """An output the graph lacks is found at the start, not in the first call."""
    copy = tmp_path / "altered"
    shutil.copytree(bundle, copy)
    text = (copy / "bundle.json").read_text().replace("predictions/Softmax:0", "predictions/Nothing:0")
    (copy / "bundle.json").write_text(text)

    code, line = failure(start(ready=False, model_folder=copy))

    assert code == 2
    assert "predictions/Nothing:0" in line["message"]


def test_bad_settings_are_told_together(start):
    """Every wrong setting is in one message, with exit code 2."""
    code, line = failure(start(ready=False, replica_max_concurrent_requests=0, listen_address="localhost", port=70000))

    assert code == 2
    for word in ("replica_max_concurrent_requests", "listen_address", "port"):
        assert word in line["message"]


def test_missing_key_file(start, tmp_path):
    """Key auth without a readable key file does not start."""
    code, line = failure(start(ready=False, keys_file=str(tmp_path / "nothing.json")))

    assert code == 2
    assert line["kind"] == "KeyFileInvalid"


def test_not_serving_while_loading(start, image, request_of, eventually):
    """From the first open port on, health and calls say that the model is not there yet, or that it is ready."""
    own = start(ready=False)
    eventually(lambda: own.log_path.read_text().count("\n") >= 2, "the port")
    own.port = own.events("listening")[0]["port"]

    def state() -> object:
        try:
            own.predict(request_of(image()), timeout=5)
        except grpc.RpcError as error:
            return error.code()
        return StatusCode.OK

    seen = set()
    eventually(lambda: seen.add(code := state()) or code is StatusCode.OK, "the first answer")

    assert seen <= {StatusCode.OK, StatusCode.UNAVAILABLE}
    serving = own.events("serving")[0]["time"]
    assert all(line["time"] >= serving for line in own.events("request") if line["code"] == "OK")
