"""The real runtime server on a box: keys, kills, replacement under load."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from accelform_runtime.client import PredictionClient
from accelform_runtime.errors import KeyRefused

KEY, OTHER_KEY = "first-key-first-key", "second-key-second-key"
WORKING_TREE = Path(__file__).parents[3] / "runtime"


@pytest.fixture
def service(bench, port, runtime_image):
    """A box that serves the tiny model; its client has the first key."""
    bench.provision()
    state = bench.deploy(runtime_image("v1"), port=port)
    with PredictionClient(state.scoring_uri, access_token=KEY) as client:
        yield client


def test_both_keys_work_and_others_do_not(bench, service, tiny, port, runtime_image):
    """The deployed keys are accepted, another one is refused; new keys work without a restart."""
    image = tiny.image_bytes()
    before = bench.server()
    with PredictionClient(f"127.0.0.1:{port}", access_token=OTHER_KEY) as other:
        assert other.score_image(image).array.shape == service.score_image(image).array.shape == (1, 10)
    with PredictionClient(f"127.0.0.1:{port}", access_token="wrong-key-wrong-key") as stranger:
        with pytest.raises(KeyRefused):
            stranger.score_image(image)
        bench.deploy(runtime_image("v1"), port=port, keys=("wrong-key-wrong-key",))
        assert stranger.score_image(image).array.shape == (1, 10)
    assert bench.server() == before


def test_the_server_shows_who_holds_the_fpga(bench, service):
    """The device lock names the resident service, its image and its process; its module comes from the image."""
    holder = (bench.layout.device_lock(0)).read_text()

    assert '"service": "digits"' in holder
    assert f'"pid": {bench.server()}' in holder
    for pid in (bench.server(), *bench.workers()):
        modules = {line.split()[-1] for line in Path(f"/proc/{pid}/maps").read_text().splitlines()}
        assert not any(str(WORKING_TREE) in module for module in modules)


def test_a_killed_server_scores_again(bench, service, tiny):
    """A client that keeps trying gets its answer from the restarted server; the killed one leaves no worker behind."""
    killed = bench.server()
    (orphan,) = bench.workers()
    os.kill(killed, signal.SIGKILL)

    assert service.score_image(tiny.image_bytes(), timeout_seconds=180).array.shape == (1, 10)

    assert bench.server() != killed
    assert orphan not in bench.workers()
    assert len(bench.workers()) == 1


def test_a_replaced_image_loses_no_call(bench, service, tiny, port, runtime_image):
    """Calls during the replacement wait for the new server; none fails with a timeout above the pause."""
    failures, answers, stop = [], [], threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                answers.append(service.score_image(tiny.image_bytes(), timeout_seconds=20).array.shape)
            except Exception as error:
                failures.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        bench.deploy(runtime_image("v2"), port=port)
    finally:
        stop.set()
        thread.join(30)

    assert failures == []
    assert len(answers) > 1
    print(bench.said[-1])


def test_a_damaged_model_is_refused_and_rolled_back(bench, service, tiny, port, runtime_image):
    """The server's own words about a damaged bundle reach the caller, and the old model keeps answering."""
    from accelform.errors import ServiceNotReady

    bad = runtime_image("v2")
    unpack = bad.unpack

    def unpack_and_damage(folder: Path) -> None:
        unpack(folder)
        (folder / "rootfs" / "model" / "model.onnx").write_bytes(b"not a model")

    bad.unpack = unpack_and_damage
    with pytest.raises(ServiceNotReady, match=r"model\.onnx.*the previous release serves again"):
        bench.deploy(bad, port=port)

    assert service.score_image(tiny.image_bytes()).array.shape == (1, 10)


def test_a_description_that_the_image_does_not_have_is_not_served(bench, runtime_image, port):
    """Labels that somebody exchanged on the box: the server refuses them, and a deploy of the image says why."""
    import hashlib
    import json

    from accelform.errors import ServiceNotReady
    from accelform_runtime.device.bundle import DIGEST_VARIABLE

    class Told:
        """An image that says what description is in it, as images do."""

        def __init__(self) -> None:
            self._image = runtime_image()
            self.label, self.digest = self._image.label, self._image.digest

        def unpack(self, folder) -> None:
            self._image.unpack(folder)
            description = folder / "rootfs" / "model" / "bundle.json"
            told = {DIGEST_VARIABLE: hashlib.sha256(description.read_bytes()).hexdigest()}
            (folder / "image.json").write_text(json.dumps({"environment": told}))
            content = json.loads(description.read_text())
            content["labels"].reverse()
            description.write_text(json.dumps(content))

    bench.provision()

    with pytest.raises(ServiceNotReady, match=r"bundle\.json has the sha256 [0-9a-f]{64}, its image says [0-9a-f]{64}"):
        bench.deploy(Told(), port=port, timeout_seconds=120)
