"""`--check`: what a start would trip over, in a line for each part, while nothing is taken."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.contract.runtime.conftest import PRIMARY, SECONDARY, command, write_bundle

from accelform_runtime.keys import write_key_file

PARTS = ["configuration", "front", "authentication", "TLS", "model"]


@pytest.fixture
def check(tmp_path, bundle):
    """check(model=..., text=None, **settings): exit code, and mark and words by part, of a check."""

    def run(model: Path = bundle, text: str | None = None, **settings) -> tuple[int, dict[str, tuple[str, str]]]:
        write_key_file(tmp_path / "keys.json", [PRIMARY, SECONDARY])
        config = {
            "name": "digits-service",
            "keys_file": str(tmp_path / "keys.json"),
            "device_lock_file": str(tmp_path / "fpga.json"),
            **settings,
        }
        (tmp_path / "service.json").write_text(text or json.dumps(config))
        answer = subprocess.run(
            [*command(model, tmp_path / "service.json"), "--check"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=tmp_path,
        )
        lines = [line.split(maxsplit=2) for line in answer.stdout.splitlines()]
        assert answer.stderr == ""
        assert PRIMARY not in answer.stdout
        return answer.returncode, {part: (mark, words) for mark, part, words in lines}

    return run


def test_all_is_well(check, tmp_path):
    """Each part has its line, the model was loaded and run, and neither the FPGA's lock nor a port was touched."""
    code, parts = check()

    assert code == 0
    assert list(parts) == PARTS
    assert {mark for mark, _ in parts.values()} == {"ok"}
    assert "loaded and warm" in parts["model"][1]
    assert not (tmp_path / "fpga.json").exists()


def test_beside_a_server(check, start, image, request_of):
    """A check of a running server's own settings is fine: it takes neither its lock nor its port."""
    own = start()
    lock = own.folder / "fpga.json"
    held = lock.read_text()

    code, _ = check(port=own.port, device_lock_file=str(lock))

    assert code == 0
    assert lock.read_text() == held
    assert own.predict(request_of(image()))[0].outputs


def test_everything_at_once(check, tmp_path):
    """All that is wrong is told in one run, and each line says what and where."""
    damaged = write_bundle(tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"no model")

    code, parts = check(
        model=damaged,
        keys_file=str(tmp_path / "no-keys.json"),
        ssl_cert_pem_file=str(tmp_path / "no-certificate.pem"),
        ssl_key_pem_file=str(tmp_path / "no-key.pem"),
    )

    assert code == 2
    assert list(parts) == PARTS
    assert [mark for mark, _ in parts.values()] == ["ok", "ok", "wrong", "wrong", "wrong"]
    assert "no-keys.json" in parts["authentication"][1]
    assert "no-certificate.pem" in parts["TLS"][1]
    assert "no-key.pem" in parts["TLS"][1]
    assert "model.onnx" in parts["model"][1]


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        (None, {"port": 70_000, "replica_max_concurrent_requests": 0}, ["port", "replica_max_concurrent_requests"]),
        (None, {"max_que": 3}, ["unknown key 'max_que'"]),
        ("{", {}, ["not JSON"]),
    ],
)
def test_wrong_configuration(check, text, settings, words):
    """A configuration that cannot be used is told with all its problems; the model is looked at all the same."""
    code, parts = check(text=text, **settings)

    assert code == 2
    assert parts["configuration"][0] == "wrong"
    assert all(word in parts["configuration"][1] for word in words)
    assert parts["model"][0] == "ok"


def test_a_model_that_fails(check, tmp_path):
    """A folder without a model is something to change, and says which folder."""
    code, parts = check(model=tmp_path / "nothing")

    assert code == 2
    assert parts["model"][0] == "wrong"
    assert "nothing" in parts["model"][1]


def test_our_own_failure(check, tmp_path, monkeypatch):
    """What nobody but us can mend is exit code 1, with the rest still told."""
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('a library of the image is damaged')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    code, parts = check()

    assert code == 1
    assert parts["model"] == ("failed", "ImportError: a library of the image is damaged")
    assert parts["TLS"][0] == "ok"
