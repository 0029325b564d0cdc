"""Runs the importer: a child process with limits on memory and time, its words in a log, its progress passed on."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from sys import executable

from accelform import project
from accelform._base.progress import Progress
from accelform.errors import ImportFailed, TensorFlowMissing, UserError

PYTHON_VARIABLE = "ACCELFORM_TENSORFLOW_PYTHON"
MEMORY_VARIABLE = "ACCELFORM_IMPORT_MEMORY_GIB"
TIME_VARIABLE = "ACCELFORM_IMPORT_SECONDS"
DEFAULT_MEMORY_GIB = 8.0
DEFAULT_SECONDS = 300.0
ENVIRONMENT = Path(".venv-tensorflow")
RUN = Path(__file__).parent / "importer" / "run.py"
LOG_FILE = "import.log"
LOG_LINES_SHOWN = 5
POLL_SECONDS = 0.2
MAX_LOG_BYTES = 16 << 20
_PASSED_ON = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an import may take."""

    memory_bytes: int
    seconds: float

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Limits:
        """`ACCELFORM_IMPORT_MEMORY_GIB` (8) and `ACCELFORM_IMPORT_SECONDS` (300).

        Raises:
            UserError: one of them is no positive number.
        """
        memory = _number(environ, MEMORY_VARIABLE, DEFAULT_MEMORY_GIB)
        return cls(memory_bytes=int(memory * 2**30), seconds=_number(environ, TIME_VARIABLE, DEFAULT_SECONDS))


def tensorflow_python(environ: Mapping[str, str] = os.environ) -> Path:
    """A Python that has TensorFlow: the one that is named, this one, or the one that `make tensorflow` made.

    Raises:
        TensorFlowMissing: none of these.
    """
    if named := environ.get(PYTHON_VARIABLE):
        path = Path(named).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise TensorFlowMissing(
                f"{PYTHON_VARIABLE} is {named}, which is no program. Name a Python with TensorFlow."
            )
        return path
    if find_spec("tensorflow") is not None and find_spec("tf2onnx") is not None:
        return Path(executable)
    try:
        made = project.root() / ENVIRONMENT / "bin" / "python"
    except UserError:
        made = Path()
    if made.is_file():
        return made
    raise TensorFlowMissing(
        "reading TensorFlow's and Keras's files needs TensorFlow, which this Python does not have. Run "
        f"`make tensorflow` in the project, or install accelform[tensorflow] elsewhere and set "
        f"{PYTHON_VARIABLE} to that Python. ONNX files need neither."
    )


def run_importer(folder: Path, *, python: Path, limits: Limits, progress: Progress) -> None:
    """Runs the job that is in `folder`, until it is done; its log is `folder`/import.log.

    Raises:
        ImportFailed: it took too much memory or time, or ended without an answer. Nothing of it runs any more.
    """
    log = folder / LOG_FILE
    read_end, write_end = os.pipe()
    with log.open("wb") as output, open(read_end, "rb", buffering=0) as reports:
        try:
            child = subprocess.Popen(
                # A shell-less way to give the child its end of the pipe a fixed number is to start through Python.
                [str(python), "-I", "-c", _START, str(write_end), str(RUN), str(folder)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,
                env=_environment(folder),
                cwd=folder,
            )
        except OSError as error:
            raise TensorFlowMissing(f"{python} can't be started: {error.strerror}. Check {PYTHON_VARIABLE}.") from error
        finally:
            os.close(write_end)
        try:
            _follow(child, reports, log, limits, progress)
        finally:
            _end(child)
    if child.returncode != 0:
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"exit code {child.returncode}"
        raise ImportFailed(f"TensorFlow ended with {how} while it read the model.{_last_words(log)}")


_START = (
    "import os, runpy, sys; number, script, folder = sys.argv[1:]; "
    "os.dup2(int(number), 3); sys.argv = [script, folder]; runpy.run_path(script, run_name='__main__')"
)


def _follow(child: subprocess.Popen[bytes], reports: object, log: Path, limits: Limits, progress: Progress) -> None:
    deadline = time.monotonic() + limits.seconds
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reports, selectors.EVENT_READ)  # type: ignore[arg-type]
        ended = False
        while not ended:
            if selector.select(POLL_SECONDS):
                part = os.read(reports.fileno(), 1 << 16)  # type: ignore[attr-defined]
                ended = part == b""
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    progress(line.decode("utf-8", "replace")[:500])
            if time.monotonic() > deadline:
                raise ImportFailed(
                    f"TensorFlow did not finish reading the model within {limits.seconds:g} s and was ended. Set "
                    f"{TIME_VARIABLE} higher, or bring the model as ONNX.{_last_words(log)}"
                )
            if (used := resident_bytes(child.pid)) > limits.memory_bytes:
                raise ImportFailed(
                    f"TensorFlow took {used / 2**30:.1f} GiB to read the model and was ended; "
                    f"{limits.memory_bytes / 2**30:.1f} GiB are allowed. Set {MEMORY_VARIABLE} higher, or bring the "
                    "model as ONNX."
                )
            if log.stat().st_size > MAX_LOG_BYTES:
                raise ImportFailed("TensorFlow wrote more than 16 MiB of log while it read the model and was ended.")
    try:
        child.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise ImportFailed(f"TensorFlow did not end within {limits.seconds:g} s; set {TIME_VARIABLE} higher.") from None


def resident_bytes(process: int) -> int:
    """Memory that a process occupies; 0 where the system doesn't tell."""
    try:
        text = Path(f"/proc/{process}/statm").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child and whatever it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    except PermissionError:
        # The group is gone but for the child that was not waited for yet.
        child.kill()
    child.wait()
    if child.stdin is not None:
        child.stdin.close()


def _environment(folder: Path) -> dict[str, str]:
    passed = {key: os.environ[key] for key in _PASSED_ON if key in os.environ}
    return passed | {
        "TMPDIR": str(folder),
        "TF_CPP_MIN_LOG_LEVEL": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "KERAS_HOME": str(folder / "keras"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
    }


def _last_words(log: Path) -> str:
    try:
        content = log.read_bytes()[-4096:].decode("utf-8", "replace")
    except OSError:
        return ""
    lines = [line.strip() for line in content.splitlines() if line.strip()][-LOG_LINES_SHOWN:]
    return " Its last words: " + " / ".join(line[:300] for line in lines) if lines else ""


def _number(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise UserError(f"{name} is {text!r}; it must be a positive number.")
    return value
