"""A bundle whose description is not the one that the image was built with is never served."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.runtime.conftest import write_bundle
from tests.support.census import worker_of

from accelform_runtime.device.bundle import DIGEST_VARIABLE

SERVING, NOT_SERVING = 1, 2


@pytest.fixture
def model(tmp_path) -> Path:
    """A bundle of this test's own."""
    return write_bundle(tmp_path / "model")


def sha256(model: Path) -> str:
    return hashlib.sha256((model / "bundle.json").read_bytes()).hexdigest()


def of_image(digest: str) -> dict[str, str]:
    """What an image says that was built with such a description."""
    return {**os.environ, DIGEST_VARIABLE: digest}


def exchange_labels(model: Path) -> None:
    """The description stays a good one; a digit is another."""
    content = json.loads((model / "bundle.json").read_text())
    content["labels"][3], content["labels"][8] = content["labels"][8], content["labels"][3]
    (model / "bundle.json").write_text(json.dumps(content))


def test_other_labels_are_not_served(launched, model, told):
    """A server does not start on them: exit code 2, the file and both digests."""
    good = sha256(model)
    exchange_labels(model)

    own = launched(model=model, env=of_image(good))

    assert own.process.wait(60) == 2
    (line,) = told(own, "error")
    assert line["kind"] == "BundleInvalid"
    assert all(words in line["message"] for words in (str(model / "bundle.json"), good, sha256(model)))


def test_a_check_says_so(launched, model):
    """--check, in the image, finds it as well."""
    good = sha256(model)
    own = launched(model=model, env=of_image(good))
    own.process.kill()
    own.process.wait(180)
    exchange_labels(model)
    words = ["--model-dir", str(model), "--config", str(own.folder / "service.json"), "--check"]

    done = subprocess.run(
        [sys.executable, "-m", "accelform_runtime.server", *words], env=of_image(good), capture_output=True, text=True
    )

    assert done.returncode == 2
    assert all(words in done.stdout for words in (good, sha256(model)))


def test_a_worker_that_is_started_anew_does_not_take_them(launched, serving, model, told, eventually):
    """It is loaded again until the file is put back."""
    before = (model / "bundle.json").read_bytes()
    own = serving(launched(model=model, env=of_image(sha256(model))))
    exchange_labels(model)
    os.kill(worker_of(own, eventually), signal.SIGKILL)

    eventually(lambda: told(own, "restart"), "a restart that fails", seconds=120)
    assert own.health() == NOT_SERVING
    assert sha256(model) in told(own, "restart")[0]["message"]

    (model / "bundle.json").write_bytes(before)
    eventually(lambda: own.health() == SERVING, "SERVING", seconds=120)
