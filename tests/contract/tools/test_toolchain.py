"""`python3 -m tools.toolchain` as a process: from PATH, from the cache, from a release host on loopback, or refused."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tools.toolchain.cache import EXECUTABLES
from tools.toolchain.modules import build_key
from tools.toolchain.pins import sdk_version
from tools.toolchain.release import archive_name

ROOT = Path(__file__).parents[3]
VERSION = sdk_version()
TIMEOUT_SECONDS = 60

TELLS_NO_SETTINGS = """if [ "$2" = -json ]; then
  shift 2
  for name in "$@"; do printf '%s"%s": ""' "${before:-{}" "$name"; before=,; done
  echo "}"
  exit
fi
"""
"""How a program that stands for Go answers `go env -json NAME …`."""


def fake_pulumi(folder: Path, version: str, *, host: bool = True) -> Path:
    folder.mkdir(parents=True)
    for name in EXECUTABLES if host else EXECUTABLES[:1]:
        (folder / name).write_text(f"#!/bin/sh\necho v{version}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder


def archive(names: tuple[str, ...] = EXECUTABLES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in (*names, "../../escaped"):
            content = f"#!/bin/sh\necho v{VERSION} from {name}\n".encode()
            member = tarfile.TarInfo(f"pulumi/{name}")
            member.size = len(content)
            member.mode = 0o755
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def published(content: bytes, *, digest: str | None = None) -> dict[str, bytes]:
    line = f"{digest or hashlib.sha256(content).hexdigest()}  {archive_name(VERSION)}\n"
    return {f"/pulumi-{VERSION}-checksums.txt": line.encode(), f"/{archive_name(VERSION)}": content}


class Releases:
    """A release host on loopback that serves a few files and counts what is asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        releases = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                releases.asked.append(self.path)
                content = releases.files.get(self.path)
                self.send_response(404 if content is None else 200)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def releases() -> Iterator[Releases]:
    host = Releases()
    thread = threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield host
    host.server.shutdown()
    thread.join()
    host.server.server_close()


@pytest.fixture
def environment(tmp_path: Path, releases: Releases) -> dict[str, str]:
    """A machine with Python only: no pulumi and no go on PATH, an empty cache, and the loopback release host."""
    return {
        "PATH": str(tmp_path / "empty"),
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "ACCELFORM_PULUMI_RELEASES": releases.url,
    }


def command() -> list[str]:
    return [sys.executable, "-m", "tools.toolchain"]


def ensure(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(), cwd=ROOT, env=dict(environment), capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )


def cached(environment: Mapping[str, str]) -> list[str]:
    root = Path(environment["XDG_CACHE_HOME"]) / "accelform" / "toolchain"
    return sorted(entry.name for entry in root.iterdir() if entry.name != "lock") if root.exists() else []


def test_pulumi_on_path_is_used(tmp_path: Path, environment: dict[str, str], releases: Releases) -> None:
    """A Pulumi on PATH that fits is used as it is: nothing is fetched and nothing is cached."""
    folder = fake_pulumi(tmp_path / "own" / "bin", f"{VERSION.major}.{VERSION.minor + 1}.0")
    outcome = ensure(environment | {"PATH": f"{folder}:/usr/bin:/bin"})
    assert (outcome.returncode, outcome.stdout.strip()) == (0, str(folder)), outcome.stderr
    assert releases.asked == []
    assert cached(environment) == []


@pytest.mark.parametrize(
    ("version", "host", "reason"),
    [("3.100.0", True, "is 3.100.0; the SDK"), (str(VERSION), False, "no pulumi-language")],
)
def test_pulumi_on_path_that_does_not_fit(
    tmp_path: Path, environment: dict[str, str], releases: Releases, version: str, host: bool, reason: str
) -> None:
    """An old Pulumi, or one without a Python language host, is passed over with the reason; the release is taken."""
    releases.files = published(archive())
    folder = fake_pulumi(tmp_path / "own", version, host=host)
    outcome = ensure(environment | {"PATH": f"{folder}:/usr/bin:/bin"})
    assert outcome.returncode == 0, outcome.stderr
    assert reason in outcome.stderr
    assert str(tmp_path / "cache") in outcome.stdout


def test_release_is_fetched_once(tmp_path: Path, environment: dict[str, str], releases: Releases) -> None:
    """A good archive is unpacked whole, only its known executables, and the second run asks nobody."""
    releases.files = published(archive())
    outcome = ensure(environment)
    assert outcome.returncode == 0, outcome.stderr
    folder = Path(outcome.stdout.strip())
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(EXECUTABLES)
    answer = subprocess.run([folder / "pulumi"], capture_output=True, text=True, check=True)
    assert f"v{VERSION} from pulumi" in answer.stdout
    assert list(tmp_path.rglob("escaped")) == []
    asked = len(releases.asked)
    again = ensure(environment)
    assert (again.returncode, again.stdout, again.stderr) == (0, outcome.stdout, "")
    assert len(releases.asked) == asked


def test_wrong_checksum_is_refused(environment: dict[str, str], releases: Releases) -> None:
    """An archive that is not what was published stops everything: it is neither used nor silently built around."""
    releases.files = published(archive(), digest="0" * 64)
    outcome = ensure(environment)
    assert outcome.returncode == 1
    assert "sha256" in outcome.stderr
    assert "damaged" in outcome.stderr
    assert outcome.stdout == ""
    assert cached(environment) == []


def test_archive_without_language_host_is_refused(environment: dict[str, str], releases: Releases) -> None:
    """An archive that lacks an executable is refused by its name, and nothing half-made stays."""
    releases.files = published(archive(EXECUTABLES[:1]))
    outcome = ensure(environment)
    assert outcome.returncode == 1
    assert "holds no pulumi-language-python" in outcome.stderr
    assert cached(environment) == []


def test_no_release_and_no_go(environment: dict[str, str]) -> None:
    """Where the release is not there, the build is next; without Go the message says which Go and where from."""
    outcome = ensure(environment)
    assert outcome.returncode == 1
    assert "answered 404" in outcome.stderr
    assert "go.dev/dl" in outcome.stderr
    assert cached(environment) == []


def test_silent_host_is_given_up_in_seconds(environment: dict[str, str]) -> None:
    """A host that accepts and never answers costs a few seconds, not a hanging make."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        outcome = ensure(environment | {"ACCELFORM_PULUMI_RELEASES": url})
    assert outcome.returncode == 1
    assert "did not answer within 4 s" in outcome.stderr


def test_what_was_built_needs_no_go(environment: dict[str, str], releases: Releases) -> None:
    """An engine that was built once is used without Go, with whatever Go it was built, and nobody is asked."""
    root = Path(environment["XDG_CACHE_HOME"]) / "accelform" / "toolchain"
    folder = fake_pulumi(root / build_key(VERSION) / "bin", str(VERSION))
    outcome = ensure(environment)
    assert (outcome.returncode, outcome.stdout.strip(), outcome.stderr) == (0, str(folder), "")
    assert releases.asked == []


@pytest.mark.parametrize("place", ["/dev/null", "/proc/nowhere"])
def test_a_cache_that_cannot_be_written_is_one_line(environment: dict[str, str], place: str) -> None:
    """Without a place for the engine, the message names the place and the variable for another one."""
    outcome = ensure(environment | {"XDG_CACHE_HOME": place})
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"error: cannot use {place}")
    assert "set XDG_CACHE_HOME to a folder that is" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_old_go_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    """A Go that is too old is named together with the version that is needed."""
    folder = tmp_path / "go" / "bin"
    folder.mkdir(parents=True)
    (folder / "go").write_text(f"#!/bin/sh\n{TELLS_NO_SETTINGS}echo go1.19.8\n", encoding="utf-8")
    (folder / "go").chmod(0o755)
    outcome = ensure(environment | {"PATH": f"{folder}:/usr/bin:/bin"})
    assert outcome.returncode == 1
    assert "found: go1.19.8" in outcome.stderr


def test_two_at_once_fetch_once(environment: dict[str, str], releases: Releases) -> None:
    """While one process fills the cache a second waits, says so, and takes what the first made."""
    releases.files = published(archive())
    root = Path(environment["XDG_CACHE_HOME"]) / "accelform" / "toolchain"
    root.mkdir(parents=True)
    leftover = root / "partial-of-a-killed-build"
    leftover.mkdir()
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both = [
            subprocess.Popen(
                command(), cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for process in both:
            assert process.stderr is not None
            assert "waiting" in process.stderr.readline()
    outcomes = [process.communicate(timeout=TIMEOUT_SECONDS) for process in both]
    assert [process.returncode for process in both] == [0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0]
    assert releases.asked.count(f"/{archive_name(VERSION)}") == 1
    assert not leftover.exists()


def test_killed_build_leaves_nothing_half_made(tmp_path: Path, environment: dict[str, str]) -> None:
    """A build that is killed leaves no toolchain, and its lock ends with the compiler it started."""
    folder = tmp_path / "go" / "bin"
    folder.mkdir(parents=True)
    pipe = tmp_path / "started"
    os.mkfifo(pipe)
    (folder / "go").write_text(
        f'#!/bin/sh\n{TELLS_NO_SETTINGS}if [ "$1" = env ]; then echo go1.99.0; exit; fi\n'
        f"echo $$ >{pipe}\nexec sleep 300\n",
        encoding="utf-8",
    )
    (folder / "go").chmod(0o755)
    process = subprocess.Popen(
        command(), cwd=ROOT, env=environment | {"PATH": f"{folder}:/usr/bin:/bin"}, stderr=subprocess.DEVNULL
    )
    compiler = int(pipe.read_text())
    process.kill()
    process.wait()
    lock = (Path(environment["XDG_CACHE_HOME"]) / "accelform" / "toolchain" / "lock").open()
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.kill(compiler, 9)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        lock.close()
    assert all(name.startswith("partial-") for name in cached(environment))
    again = ensure(environment)
    assert again.returncode == 1
    assert cached(environment) == []
