"""A machine without room, files, names, shells or rights: the service serves, or ends with one clear line."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tests.contract.reliability.failing_model import failing_model
from tests.contract.reliability.rights import NOBODY, as_nobody, only_root
from tests.contract.runtime.conftest import (
    Service,
    azureml_metadata,
    wait_until_serving,
    write_bundle,
)
from tests.support.census import worker_of
from tests.support.ports import free_port

from accelform_runtime.protocol import PREDICT

SERVING = health_pb2.HealthCheckResponse.SERVING
FAILS = 255
BARE = """
set -e
mount --bind "$1" "$1"
for place in /tmp /; do mountpoint -q $place && mount -o remount,ro,bind $place; done
for file in /etc/resolv.conf /etc/hosts; do test -e $file && mount --bind /dev/null $file; done
shift
exec "$@"
"""
"""Only the folder that is named first can be written, and no name can be resolved; then runs the rest."""


def healthy(own: Service) -> bool:
    with contextlib.suppress(grpc.RpcError):
        return own.health() == SERVING
    return False


@contextlib.contextmanager
def unwritable(kind: str, folder: Path):
    """A log that takes nothing, or nothing more."""
    if kind == "full disk":
        with open("/dev/full", "wb") as log:
            yield [], log
    elif kind == "no reader":
        reading, writing = os.pipe()
        os.close(reading)
        yield [], writing
        os.close(writing)
    else:
        folder.mkdir()
        with (folder / "grown").open("wb") as log:
            yield ["prlimit", "--fsize=1500:1500"], log


@pytest.mark.parametrize("kind", ["full disk", "no reader", "size limit"])
def test_a_log_that_cannot_be_written(launched, tmp_path, image, request_of, eventually, kind):
    """Without room for its log, or without a reader, a server starts, serves, restarts its model and stops as ever."""
    model = write_bundle(tmp_path / "failing", failing_model())
    with unwritable(kind, tmp_path / "own") as (prefix, log):
        own = launched(*prefix, log=log, model=model, port=free_port())
    eventually(lambda: healthy(own), "SERVING")
    worker = worker_of(own, eventually)
    channel = own.channel()

    def ask(red: int) -> StatusCode:
        try:
            channel.unary_unary(PREDICT)(request_of(image(red)), metadata=azureml_metadata(), timeout=20)
        except grpc.RpcError as error:
            return error.code()
        return StatusCode.OK

    assert [ask(1) for _ in range(20)] == [StatusCode.OK] * 20
    assert [ask(FAILS) for _ in range(5)] == [StatusCode.INTERNAL] * 5  # each with a traceback in the log
    assert ask(1) is StatusCode.OK
    assert worker_of(own, eventually) == worker
    os.kill(worker, signal.SIGSEGV)
    worker_of(own, eventually, other_than=worker)
    assert ask(1) is StatusCode.OK
    assert own.terminate() == 0


def test_too_few_files(launched, image, request_of, eventually):
    """Connections that take the last file cost those who are in nothing; with them gone all is as before."""
    own = launched("prlimit", "--nofile=48:48")
    eventually(lambda: own.events("serving"), "serving")
    own.port = own.events("listening")[0]["port"]
    channel = own.channel()

    def ask() -> bool:
        channel.unary_unary(PREDICT)(request_of(image()), metadata=azureml_metadata(), timeout=20)
        return True

    assert ask()
    crowd = [socket.create_connection(("127.0.0.1", own.port)) for _ in range(100)]
    limit = len(list(Path(f"/proc/{own.process.pid}/fd").iterdir()))
    eventually(lambda: len(list(Path(f"/proc/{own.process.pid}/fd").iterdir())) >= 46, f"no file left; {limit} used")
    assert all(ask() for _ in range(20))
    first = worker_of(own, eventually)
    os.kill(first, signal.SIGKILL)
    for connection in crowd:
        connection.close()

    worker_of(own, eventually, other_than=first)
    assert ask()
    assert own.predict(request_of(image()))[0].outputs
    assert own.terminate() == 0


def test_without_shell_and_path(launched, image, request_of):
    """An empty environment with an empty PATH is enough."""
    own = wait_until_serving(launched(env={"PATH": ""}))

    assert own.predict(request_of(image()))[0].outputs
    assert own.terminate() == 0


@only_root
def test_read_only_root(launched, tmp_path, image, request_of, eventually, told):
    """With a root that is read-only, no /tmp to write to, and no names to resolve, only the lock needs a place."""
    folder = tmp_path / "own"
    folder.mkdir()
    prefix = ("unshare", "-m", "sh", "-c", BARE, "sh", str(folder))
    own = wait_until_serving(launched(*prefix, env={**os.environ, "TMPDIR": "/nonexistent"}, folder=folder))

    assert own.predict(request_of(image()))[0].outputs
    worker = worker_of(own, eventually)
    os.kill(worker, signal.SIGKILL)
    worker_of(own, eventually, other_than=worker)
    assert own.predict(request_of(image()))[0].outputs
    assert own.terminate() == 0
    assert told(own, "library") == []


@only_root
def test_read_only_place_of_the_lock(launched, tmp_path, told):
    """A lock file that cannot be made is exit code 2 and one line that names the setting."""
    folder, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    own = launched("unshare", "-m", "sh", "-c", BARE, "sh", str(elsewhere), folder=folder)

    assert own.process.wait(180) == 2
    (line,) = told(own, "error")
    assert line["kind"] == "ConfigInvalid"
    assert "device_lock_file" in line["message"]


@only_root
def test_without_root(launched, of_nobody, image, request_of, eventually, told):
    """A user without any right serves, restarts and stops; a key file that it may not read is exit code 2."""
    own = wait_until_serving(launched(*as_nobody(of_nobody), folder=of_nobody, model=of_nobody / "model"))
    assert Path(f"/proc/{own.process.pid}").stat().st_uid == NOBODY
    assert own.predict(request_of(image()))[0].outputs
    worker = worker_of(own, eventually)
    os.kill(worker, signal.SIGKILL)
    worker_of(own, eventually, other_than=worker)
    assert own.predict(request_of(image()))[0].outputs
    assert own.terminate() == 0

    closed = of_nobody / "closed.json"
    prefix = as_nobody(of_nobody, f"cp {of_nobody}/keys.json {closed}; chmod 600 {closed}")
    own = launched(*prefix, folder=of_nobody, model=of_nobody / "model", keys_file=str(closed))
    assert own.process.wait(180) == 2
    assert told(own, "error")[-1]["kind"] == "KeyFileInvalid"


def test_ipv6_only(launched, image, request_of, eventually):
    """On ::1 alone a server answers there and nowhere else."""
    own = launched(listen_address="::1")
    eventually(lambda: own.events("serving"), "serving")
    port = own.events("listening")[0]["port"]

    with grpc.insecure_channel(f"[::1]:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
        assert channel.unary_unary(PREDICT)(request_of(image()), metadata=azureml_metadata(), timeout=20)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert own.terminate() == 0
