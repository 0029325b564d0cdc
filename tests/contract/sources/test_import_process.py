"""The child process that imports: what it may take, and that nothing of it outlives its caller."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from accelform.errors import ImportFailed, TensorFlowMissing, WeightsUnreadable
from accelform.sources import read_source

DATA = Path(__file__).parent / "data"
FROZEN = DATA / "frozen.pb"
Fake = Callable[[str], Path]


def gone(process: int, *, within_seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def nothing_half_made(folder: Path) -> bool:
    return all(path.suffix == ".lock" for path in (folder / "imports").iterdir())


def test_too_slow(fake_tensorflow: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended in time, its own children with it; the message names the setting and its last words."""
    fake_tensorflow(
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('thinking', flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setenv("ACCELFORM_IMPORT_SECONDS", "3")

    with pytest.raises(ImportFailed, match=r"within 3 s.*ACCELFORM_IMPORT_SECONDS.*thinking"):
        read_source(FROZEN)

    assert all(gone(int(process)) for process in (tmp_path / "pids").read_text().split())
    assert nothing_half_made(tmp_path)


def test_too_large(fake_tensorflow: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is watched; beyond the limit the import is ended, long before the machine notices."""
    fake_tensorflow("import time\nheld = [bytearray(1 << 20) for _ in range(300)]\ntime.sleep(600)\n")
    monkeypatch.setenv("ACCELFORM_IMPORT_MEMORY_GIB", "0.2")

    with pytest.raises(ImportFailed, match=r"0\.[2-4] GiB.*0\.2 GiB are allowed.*ACCELFORM_IMPORT_MEMORY_GIB"):
        read_source(FROZEN)

    assert nothing_half_made(tmp_path)


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("import os; os._exit(3)", ImportFailed, "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", ImportFailed, "signal 11"),
        ("raise RuntimeError('no such luck')", WeightsUnreadable, "no such luck"),
    ],
)
def test_crashes(fake_tensorflow: Fake, tmp_path: Path, code: str, error: type[Exception], message: str) -> None:
    """However it ends, there is one message, and nothing half-made."""
    fake_tensorflow(code)

    with pytest.raises(error, match=message):
        read_source(FROZEN)

    assert nothing_half_made(tmp_path)


def test_no_such_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong setting is named."""
    monkeypatch.setenv("ACCELFORM_TENSORFLOW_PYTHON", "/no/such/python")

    with pytest.raises(TensorFlowMissing, match="/no/such/python, which is no program"):
        read_source(FROZEN)


def test_a_killed_caller_takes_its_import_along(fake_tensorflow: Fake, tmp_path: Path) -> None:
    """A preview that is killed leaves no TensorFlow behind that computes for nobody."""
    pid_file = tmp_path / "pid"
    fake_tensorflow(
        f"import os, time\nopen({str(pid_file)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(pid_file)!r} + '.new', {str(pid_file)!r})\ntime.sleep(600)\n"
    )
    code = f"from accelform.sources import read_source; read_source({str(FROZEN)!r})"
    caller = subprocess.Popen([sys.executable, "-c", code], env=os.environ)
    try:
        deadline = time.monotonic() + 180
        while not pid_file.exists():
            assert time.monotonic() < deadline, "the import did not start"
            assert caller.poll() is None
            time.sleep(0.05)
        importer = int(pid_file.read_text())
        caller.send_signal(signal.SIGKILL)
        assert gone(importer)
    finally:
        caller.kill()
        caller.wait()


def test_the_environment_is_not_passed_on(
    fake_tensorflow: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets of the deployment have no business in the process that reads a stranger's file."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "secret")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    fake_tensorflow(f"import json, os; json.dump(dict(os.environ), open({str(tmp_path / 'seen')!r}, 'w')); os._exit(3)")

    with pytest.raises(ImportFailed):
        read_source(FROZEN)

    seen = (tmp_path / "seen").read_text()
    assert "secret" not in seen
    assert "/elsewhere" not in seen
