"""What long steps say while they run: one line every few seconds, on standard error.

Standard output stays free for results (a directory, shell exports), so every tool can be used in `$(...)`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

INTERVAL_SECONDS = 10.0
KEPT_LINES = 30


class StepFailed(Exception):
    """A step of the set-up failed; the message says what failed, why, and what to do next."""


def say(message: str) -> None:
    """Print one progress line on standard error."""
    print(message, file=sys.stderr, flush=True)


def reported(step: Callable[[], object]) -> int:
    """Take the step: 0, or 1 with what failed and what to do next on standard error."""
    try:
        step()
    except StepFailed as failure:
        say(f"error: {failure}")
        return 1
    except OSError as error:
        say(f"error: {in_words(error)}")
        return 2
    return 0


def in_words(error: OSError) -> str:
    """Return one line about a file or folder that could not be used: what, where, and what to do."""
    place = f" {error.filename}" if error.filename else ""
    return (
        f"cannot use{place}: {error.strerror or error}. Make it writable for this user"
        + (", or set XDG_CACHE_HOME to a folder that is" if _is_a_cache(str(error.filename)) else "")
        + "."
    )


def _is_a_cache(path: str) -> bool:
    named = os.environ.get("XDG_CACHE_HOME", "")
    return "cache" in path or (bool(named) and path.startswith(named))


def elapsed(seconds: float) -> str:
    """Return a duration the way people say it: `8 s`, `1 m 20 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} m {rest:02d} s" if minutes else f"{rest} s"


class Downloads:
    """What uv says while it fetches: `Downloading numpy (16.1MiB)`, then `Downloaded numpy`, of large packages only."""

    SIZES: ClassVar = {"KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10}
    LINE = re.compile(r"\s*Download(?P<how>ing|ed) (?P<name>\S+)(?: \((?P<size>[\d.]+)(?P<unit>[KMG]iB)\))?")

    def __init__(self, title: str) -> None:
        self._title = title
        self._mebibytes: dict[str, float] = {}
        self._fetched: set[str] = set()

    def counts(self, line: str) -> bool:
        """Tell whether a line says that a package has come."""
        if (row := self.LINE.match(line)) is None:
            return False
        if row["how"] == "ed":
            self._fetched.add(row["name"])
            return True
        self._mebibytes[row["name"]] = float(row["size"] or 0) * self.SIZES[row["unit"] or "MiB"]
        return True

    def describe(self, _: int) -> str:
        """Return how much has come, of what is known so far to be fetched; nothing where all is in the cache."""
        if not self._mebibytes:
            return self._title
        fetched = sum(self._mebibytes.get(name, 0) for name in self._fetched)
        return f"{self._title}: {fetched:.0f} of {sum(self._mebibytes.values()):.0f} MiB fetched"


def run_counted(
    command: Sequence[str],
    *,
    describe: Callable[[int], str],
    counts: Callable[[str], bool],
    cwd: Path,
    environment: Mapping[str, str],
    keep_open: tuple[int, ...] = (),
) -> None:
    """Run a command and say every few seconds how far it is, by counting lines of its output.

    `counts(line)` tells whether a line is one unit of work; all other lines are kept and shown when the command fails.
    `keep_open` are file descriptors the command inherits, so that a lock outlives a killed caller.
    Raises StepFailed with the command's last lines.
    """
    started = time.monotonic()
    done = 0
    kept: deque[str] = deque(maxlen=KEPT_LINES)
    process = subprocess.Popen(
        list(command),
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=keep_open,
        start_new_session=True,
    )
    finished = threading.Event()

    def report() -> None:
        while not finished.wait(INTERVAL_SECONDS):
            say(f"  {describe(done)}, {elapsed(time.monotonic() - started)}")

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if counts(line):
                done += 1
            else:
                kept.append(line.rstrip())
        code = process.wait()
    except BaseException:
        stop_group(process)
        raise
    finally:
        finished.set()
        reporter.join()
    if code != 0:
        raise StepFailed(f"{' '.join(command[:3])} ... failed with exit code {code}:\n" + "\n".join(kept))
    say(f"  {describe(done)}, {elapsed(time.monotonic() - started)}: done")


def stop_group(process: subprocess.Popen[str]) -> None:
    """Stop a command started in a session of its own, with all that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def exit_on_sigterm() -> None:
    """Turn SIGTERM into SystemExit, so that clean-up runs when make or a CI job ends us."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
