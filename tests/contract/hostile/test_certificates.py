"""Certificates of a running service: rotation under load, and files that are no good."""

from __future__ import annotations

import pytest
from tests.contract.hostile.authorities import Secured, context_of, pair, put, shown
from tests.contract.hostile.conftest import PRIMARY
from tests.contract.hostile.watching import Beside
from tests.support.raw_http2 import RawConnection
from tests.support.side_door import SideDoor
from tests.support.waiting import wait_for

CHECK = "/grpc.health.v1.Health/Check"


def test_rotation_under_load(safe, question):
    """New pairs are shown to new connections, on both ports, and no call of old or new connections fails."""
    context = context_of(safe.authority)
    with safe.channel() as channel, Beside(safe.service, question, channel) as beside:
        for _ in range(2):
            safe.now = pair(safe.authority)
            safe.put(safe.now)

            def everywhere() -> bool:
                with RawConnection(safe.service.port, tls=context_of(safe.authority, "h2")) as fresh:
                    assert fresh.ask(CHECK, b"").status == 0
                assert SideDoor(safe.ports[1], PRIMARY, context).ask("/v1/models").status == 200
                return all(shown(port, context) == safe.now.leaf for port in safe.ports)

            wait_for(everywhere, "the new certificate", 10)
        beside.wait(180)

    beside.check()


def mismatched(safe: Secured) -> None:
    put(safe.folder / "chain.pem", pair(safe.authority).chain)


def expired(safe: Secured) -> None:
    safe.put(pair(safe.authority, expired=True))


def half_written(safe: Secured) -> None:
    new = pair(safe.authority)
    put(safe.folder / "key.pem", new.key)
    put(safe.folder / "chain.pem", new.chain[: len(new.chain) // 2])


def half_a_key(safe: Secured) -> None:
    put(safe.folder / "key.pem", safe.now.key[: len(safe.now.key) // 2])


def gone(safe: Secured) -> None:
    (safe.folder / "key.pem").unlink()


def a_folder(safe: Secured) -> None:
    (safe.folder / "chain.pem").unlink()
    (safe.folder / "chain.pem").mkdir()


def open_to_all(safe: Secured) -> None:
    (safe.folder / "key.pem").chmod(0o644)


def endless(safe: Secured) -> None:
    put(safe.folder / "chain.pem", safe.now.chain + b"#" * 2**21)


@pytest.mark.parametrize(
    "spoil",
    [mismatched, expired, half_written, half_a_key, gone, a_folder, open_to_all, endless],
    ids=lambda f: f.__name__,
)
def test_files_that_are_no_good(safe, spoil):
    """The last good pair stays in force, one line tells what is wrong and none the key; good files end it."""
    context = context_of(safe.authority)
    kept, reloaded = len(safe.told("kept")), len(safe.told("reloaded"))
    try:
        spoil(safe)
        wait_for(lambda: shown(safe.service.port, context) and len(safe.told("kept")) > kept, "the line", 10)
        assert {shown(port, context) for port in safe.ports} == {safe.now.leaf}
        assert len(safe.told("kept")) == kept + 1
        assert str(safe.folder) in str(safe.told("kept")[-1]["problem"])
        assert "PRIVATE" not in safe.service.log_path.read_text()
    finally:
        if (safe.folder / "chain.pem").is_dir():
            (safe.folder / "chain.pem").rmdir()
        safe.now = pair(safe.authority)
        safe.put(safe.now)
    wait_for(
        lambda: shown(safe.service.port, context) == safe.now.leaf and len(safe.told("reloaded")) > reloaded,
        "the good pair, and the line that tells of it",
        60,
    )
    assert len(safe.told("reloaded")) == reloaded + 1
