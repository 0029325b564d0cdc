"""Signals while Python still imports: no traceback, and the exit code of a program that was asked to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.reliability.hooks import environment
from tests.support.census import children, is_gone, worker_of

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
STAYS = """
import pathlib, time
(pathlib.Path(__file__).parent / "reached").touch()
time.sleep(600)
"""
IN_WORKER = "import sys\nif 'accelform_runtime.worker' in sys.orig_argv:" + STAYS.replace("\n", "\n    ")


def blocked(folder: Path, module: str, text: str = STAYS) -> dict[str, str]:
    """An environment in which the import of `module` never ends."""
    folder.mkdir()
    (folder / f"{module}.py").write_text(text)
    return environment(folder)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_that_is_being_imported(launched, tmp_path, eventually, told, number):
    """A server that has not begun ends with 0 and one line."""
    own = launched(env=blocked(tmp_path / "hook", "argparse"))
    eventually((tmp_path / "hook" / "reached").exists, "the import")

    own.process.send_signal(number)

    assert own.process.wait(180) == 0
    assert [line["event"] for line in own.log()] == ["stopped"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_device_plugin_that_is_being_imported(tmp_path, eventually, number):
    """So does a device plugin."""
    env = blocked(tmp_path / "hook", "argparse")
    process = subprocess.Popen(
        [sys.executable, "-m", "accelform_runtime.device_plugin"], env=env, stderr=subprocess.PIPE, text=True
    )
    eventually((tmp_path / "hook" / "reached").exists, "the import")

    process.send_signal(number)

    _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert '"event": "stopped"' in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", SIGNALS)
def test_a_check_that_is_ended(launched, tmp_path, bundle, eventually, number):
    """A check, which is for people, ends by the signal and without a traceback."""
    own = launched(env=blocked(tmp_path / "hook", "argparse"))
    own.process.kill()
    own.process.wait(180)
    (tmp_path / "hook" / "reached").unlink(missing_ok=True)
    words = ["--model-dir", str(bundle), "--config", str(own.folder / "service.json"), "--check"]
    process = subprocess.Popen(
        [sys.executable, "-m", "accelform_runtime.server", *words],
        env=environment(tmp_path / "hook"),
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually((tmp_path / "hook" / "reached").exists, "the import")

    process.send_signal(number)

    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (-number, "")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_worker_that_is_being_imported(launched, tmp_path, eventually, number):
    """A terminal sends its signals to the worker too, which obeys the front only: the stop is an ordinary one."""
    own = launched(env=blocked(tmp_path / "hook", "sitecustomize", IN_WORKER))
    eventually((tmp_path / "hook" / "reached").exists, "the import")
    worker = worker_of(own, eventually)

    os.kill(worker, number)
    assert children(own.process.pid) == [worker]
    own.process.send_signal(number)

    assert own.process.wait(180) == 0
    eventually(lambda: is_gone(worker), "the worker's end")
    assert "Traceback" not in own.log_path.read_text()
    assert own.events("stopped")


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_is_to_be_ignored(launched, tmp_path, serving, number):
    """What whoever starts the server wants it to ignore, as nohup does, does not stop it."""
    own = serving(launched("sh", "-c", f'trap "" {number.name.removeprefix("SIG")}; exec "$@"', "sh"))

    own.process.send_signal(number)

    assert own.health() == 1
    assert own.events("draining") == []
