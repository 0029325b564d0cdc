"""Keys of a running service from one to the next: who is let in at every step, over gRPC and HTTP, and what is told."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from tests.contract.hostile.conftest import SETTINGS, bearer, hang_up, http_port_of
from tests.contract.runtime.conftest import PRIMARY, SECONDARY, wait_until_serving
from tests.support.raw_http2 import RawConnection
from tests.support.side_door import SideDoor

from accelform_runtime.keys import write_key_file
from accelform_runtime.tokens import generate_signing_key, mint, write_token_keys_file

PATH = "/tensorflow.serving.ModelService/GetModelStatus"
NEW = "third-key-0123456789abcdef"


@pytest.fixture(scope="module")
def service(tmp_path_factory, bundle, started):
    found = wait_until_serving(started(tmp_path_factory.mktemp("keys") / "service", bundle, SETTINGS))
    hang_up(found)
    return found


@pytest.fixture
def keys_file(service):
    """The key file, with the two first keys in it before the test and after it."""
    path = service.folder / "keys.json"
    write_key_file(path, [PRIMARY, SECONDARY])
    assert let_in(service, PRIMARY)
    yield path
    replace(path, b"")
    write_key_file(path, [PRIMARY, SECONDARY])
    assert let_in(service, PRIMARY)


def replace(path: Path, content: bytes) -> None:
    """Another content in one step, whatever was there."""
    if path.is_dir():
        path.rmdir()
    beside = path.with_name("beside")
    beside.touch(mode=0o600)
    beside.write_bytes(content)
    os.replace(beside, path)


def let_in(service, key: str) -> bool:
    """Whether a call with this key is let in; gRPC and HTTP have to agree."""
    with RawConnection(service.port) as connection:
        status = connection.ask(PATH, b"", bearer(key)).status
    assert status in (0, 16)
    http = SideDoor(http_port_of(service), key).ask("/v1/models").status
    assert http == (200 if status == 0 else 401)
    return status == 0


def test_both_keys_are_good_while_one_is_replaced(service, keys_file):
    """Each step of a rotation takes effect with the next call: a new key is good at once, a withdrawn one refused."""
    assert [let_in(service, key) for key in (PRIMARY, SECONDARY, NEW)] == [True, True, False]

    write_key_file(keys_file, [NEW, SECONDARY])
    assert [let_in(service, key) for key in (PRIMARY, SECONDARY, NEW)] == [False, True, True]

    write_key_file(keys_file, [NEW])
    assert [let_in(service, key) for key in (PRIMARY, SECONDARY, NEW)] == [False, False, True]


def test_a_withdrawn_key_is_refused_on_open_connections(service, keys_file):
    """A connection that was let in is no door: its next call needs a key that is good then."""
    with RawConnection(service.port) as connection:
        for key, other in ((SECONDARY, PRIMARY), (PRIMARY, SECONDARY)) * 10:
            write_key_file(keys_file, [key])
            assert connection.ask(PATH, b"", bearer(key)).status == 0
            assert connection.ask(PATH, b"", bearer(other)).status == 16


def test_rotation_under_load(service, keys_file):
    """While one key is replaced over and over, no call with the other one fails."""
    over, failed, done = threading.Event(), [], []

    def call() -> None:
        with RawConnection(service.port) as connection:
            while not over.is_set():
                outcome = connection.ask(PATH, b"", bearer(SECONDARY))
                done.append(outcome)
                if outcome.status != 0:
                    failed.append(outcome)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    end = time.monotonic() + 2
    while time.monotonic() < end:
        write_key_file(keys_file, [f"key-number-{time.monotonic_ns():020}", SECONDARY])
    over.set()
    for caller in callers:
        caller.join(20)

    assert failed == []
    assert len(done) > 100


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


BROKEN = {
    "empty": lambda path: replace(path, b""),
    "half": lambda path: replace(path, path.read_bytes()[: path.stat().st_size // 2]),
    "no-keys": lambda path: replace(path, b'{"schema": 1, "algorithm": "hmac-sha256", "keys": []}'),
    "another-schema": lambda path: replace(path, path.read_bytes().replace(b'"schema": 1', b'"schema": 2')),
    "random": lambda path: replace(path, os.urandom(5000)),
    "null": lambda path: replace(path, b"null"),
    "deep": lambda path: replace(path, b"[" * 100_000),
    "endless": lambda path: replace(path, b" " * 2**21),
    "gone": gone,
    "folder": a_folder,
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_keeps_the_last_good_keys(service, keys_file, name):
    """Good keys stay good, others are not, and one line of the log says what is wrong with the file."""
    lines = len(service.events("keys"))

    BROKEN[name](keys_file)

    for _ in range(5):
        assert [let_in(service, key) for key in (PRIMARY, SECONDARY, NEW, "")] == [True, True, False, False]
    (told,) = service.events("keys")[lines:]
    assert told["state"] == "kept"
    assert str(keys_file) in told["problem"]
    assert PRIMARY not in service.log_path.read_text()


def test_token_keys_rotate_as_well(tmp_path_factory, bundle, started):
    """Tokens of both signing keys are good in the overlap; those of a withdrawn one are refused at once."""
    folder = tmp_path_factory.mktemp("tokens")
    file, old, new = folder / "tokens.pem", generate_signing_key(), generate_signing_key()
    write_token_keys_file(file, [old.public_pem])
    tokens = {"auth_enabled": False, "keys_file": "", "token_auth_enabled": True, "token_keys_file": str(file)}
    service = wait_until_serving(started(folder / "service", bundle, {**SETTINGS, **tokens}))
    first, second = (mint(key.private_pem, "digits-service") for key in (old, new))

    seen = []
    for keys in ([old], [old, new], [new]):
        write_token_keys_file(file, [key.public_pem for key in keys])
        seen.append([let_in(service, token) for token in (first, second)])
    file.write_text("-----BEGIN PUBLIC KEY-----\n")
    seen.append([let_in(service, token) for token in (first, second)])

    assert seen == [[True, False], [True, True], [False, True], [False, True]]
    hang_up(service)
