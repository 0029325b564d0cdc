"""A server for peers that mean harm, and the rule that it is as well after them as before."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract.hostile.authorities import Secured, secured
from tests.contract.hostile.watching import MEBIBYTE, asks_health, front, worker
from tests.contract.runtime.conftest import (
    PRIMARY,
    Metadata,
    Service,
    bundle,
    image,
    image_bytes,
    request_bytes,
    start,
    started,
    wait_for,
    wait_until_serving,
)

__all__ = ["bundle", "image", "start", "started"]


def bearer(key: str) -> Metadata:
    """Metadata that shows a key or a token."""
    return (("authorization", f"Bearer {key}"),)


KEY = bearer(PRIMARY)
SETTINGS: dict[str, Any] = {
    "http_enabled": True,
    "http_port": 0,
    "metrics_open": True,
    "receive_timeout_seconds": 3.0,
    "handshake_timeout_seconds": 2.0,
}
"""Of the server that most tests share: slow peers are cut off while a test can wait for it."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, bundle: Path, started: Callable[..., Service]) -> Service:
    service = wait_until_serving(started(tmp_path_factory.mktemp("hostile") / "service", bundle, SETTINGS))
    hang_up(service)
    return service


def hang_up(service: Service) -> None:
    """Closes the test's own channels: each is a file of the front."""
    while service.channels:
        service.channels.pop().close()


@pytest.fixture
def target(shared: Service) -> Iterator[Service]:
    """The shared server. After the test its processes are the same, it answers, and its log is whole."""
    lines, child = len(shared.log_path.read_text().splitlines()), worker(shared)
    yield shared
    assert shared.process.poll() is None
    assert worker(shared) == child
    assert asks_health(shared)
    shared.predict(request_bytes(image_bytes()))
    hang_up(shared)
    wait_for(lambda: shared.log_path.read_bytes().endswith(b"\n"), "whole lines in the log")
    told = [json.loads(line) for line in shared.log_path.read_text().rpartition("\n")[0].splitlines()[lines:]]
    # Every line is JSON: no library and no traceback writes between them.
    assert {line["event"] for line in told} <= {"request"}
    assert [line for line in told if line.get("code") in ("INTERNAL", "UNKNOWN") or "Traceback" in str(line)] == []


@pytest.fixture(scope="session")
def safe(tmp_path_factory: pytest.TempPathFactory, bundle: Path, started: Callable[..., Service]) -> Secured:
    """A service with TLS."""
    return secured(tmp_path_factory.mktemp("tls"), lambda place, more: started(place, bundle, {**SETTINGS, **more}))


@pytest.fixture
def http_port(target: Service) -> int:
    return http_port_of(target)


def http_port_of(service: Service) -> int:
    """The port of HTTP, which the log tells."""
    return int(wait_for(lambda: service.events("listening_http"), "the port of HTTP")[0]["port"])


@pytest.fixture
def question() -> bytes:
    """A PredictRequest that is answered at once."""
    return request_bytes(image_bytes())


@contextlib.contextmanager
def bounded(service: Service, mebibytes: int) -> Iterator[None]:
    """Within it the front holds at most that much more than before, and afterwards no more files."""
    before, files = front(service).forget_peak(), front(service).files()
    yield
    grown = (front(service).peak() - before) / MEBIBYTE
    assert grown < mebibytes, f"the front grew by {grown:.0f} MiB"
    hang_up(service)
    wait_for(lambda: front(service).files() <= files + 1, "files that are closed", 10)
