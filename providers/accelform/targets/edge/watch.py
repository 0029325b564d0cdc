"""Watching a service: is it serving, and if not, why."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from accelform.errors import ServiceNotReady
from accelform.plans import serving
from accelform.targets import last_words as words
from accelform.targets.edge.access import AccessFiles
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.records import ServiceRecord
from accelform.targets.edge.state import ServiceState, ServiceStatus
from accelform.targets.edge.supervision import UP, ProcessInfo, Supervision

WARM_UP_SECONDS = 60.0
"""A server that runs this long and does not answer SERVING counts as unhealthy and no longer as starting."""
ENDS_ALLOWED = 3
USER_ERROR = "exit status 2"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where the logs ended at some time, in bytes."""

    supervisor_log: int
    service_log: int


def mark(layout: Layout, supervision: Supervision, name: str) -> Mark:
    """Where the logs end now."""
    log = layout.service_log(name)
    return Mark(supervisor_log=supervision.log_size(), service_log=log.stat().st_size if log.exists() else 0)


def wait_until_serving(
    layout: Layout,
    supervision: Supervision,
    record: ServiceRecord,
    *,
    timeout_seconds: float,
    progress: Callable[[str], None],
    since: Mark | None = None,
    keys: Sequence[str] = (),
) -> None:
    """Returns once the service's own process answers SERVING and takes every one of `keys`, keys or tokens.

    `since` marks from where on the logs count; now, where it is left out.
    Raises ServiceNotReady with the server's last words at the deadline, or at once where waiting cannot help: the
    server says that someone has to change something (exit status 2), or it ended again and again.
    """
    begin = time.monotonic()
    told = 0.0
    since = since or mark(layout, supervision, record.name)
    access = AccessFiles.of(layout, record.name, record.release)
    while True:
        waited = time.monotonic() - begin
        info = supervision.process(record.name)
        serves = bool(info and info.pid and info.state in UP and access.health() == "SERVING")
        if serves and access.takes(keys):
            return
        ends = supervision.exits(record.name, since=since.supervisor_log)
        if (info and info.state == "FATAL") or USER_ERROR in ends or len(ends) >= ENDS_ALLOWED:
            why = f"its server ended with {ends[-1]}" if ends else "its server cannot be started"
        elif serves and waited > timeout_seconds:
            why = f"it serves, but did not take its new {'keys' if access.keys else 'tokens'} in {timeout_seconds:g} s"
        elif waited > timeout_seconds:
            why = f"it was not SERVING within {timeout_seconds:g} s"
            why += f" and its server ended with {ends[-1]}" if ends else ""
        else:
            if waited - told >= 5:
                told = waited
                progress(f"waiting for SERVING, {waited:.0f} of {timeout_seconds:g} s")
            time.sleep(0.1)
            continue
        said = _said(last_words(layout, record.name, since=since.service_log))
        raise ServiceNotReady(f"service {record.name!r} did not start: {why}; {said}")


def state_of(layout: Layout, supervision: Supervision, record: ServiceRecord) -> ServiceState:
    """The service as it is now."""
    info = supervision.process(record.name)
    state, reason = _judge(layout, supervision, record, info)
    release = record.release
    access = AccessFiles.of(layout, record.name, release)
    host = record.ssl_cname or (_host_name() if release.listens_everywhere else release.host)
    places = [serving.address(host, port, ssl_enabled=release.ssl_enabled) for port in release.ports]
    return ServiceState(
        name=record.name,
        owner=record.owner,
        state=state,
        reason=reason,
        fpga=release.fpga,
        port=release.serving.port,
        scoring_uri=places[0],
        http_uri=places[1] if release.serving.http_enabled else "",
        ssl_cert_expires=access.expires(),
        image_location=release.image_location,
        image_digest=release.image_digest,
        pid=info.pid if info else 0,
        tags=dict(record.tags),
    )


def read_log(layout: Layout, name: str, *, lines: int, since: int = 0) -> list[str]:
    """The last `lines` lines of the service's log after byte `since`, oldest first; empty where there are none."""
    try:
        with layout.service_log(name).open("rb") as log:
            if since <= os.fstat(log.fileno()).st_size:  # otherwise it was rotated
                log.seek(since)
            return [line.decode(errors="replace").rstrip("\n") for line in deque(log, maxlen=lines)]
    except FileNotFoundError:
        return []


def last_words(layout: Layout, name: str, *, since: int = 0) -> str:
    """What the newest lines of the service's log tell about what went wrong; "" for an empty log."""
    return words.last_words(read_log(layout, name, lines=50, since=since))


def _judge(
    layout: Layout, supervision: Supervision, record: ServiceRecord, info: ProcessInfo | None
) -> tuple[ServiceStatus, str]:
    if info is None:
        missing = "the supervisor does not know it" if supervision.is_running() else "the box's supervisor does not run"
        return "Unhealthy", missing
    if info.state == "FATAL":
        return "Failed", f"its server ended again and again; {_said(last_words(layout, record.name))}"
    if info.state == "BACKOFF":
        return "Unhealthy", f"its server ended and is started again; {_said(last_words(layout, record.name))}"
    if info.state not in UP:
        return "Unhealthy", f"its server was stopped from outside ({info.state})"
    access = AccessFiles.of(layout, record.name, record.release)
    answer = access.health()
    if answer == "SERVING":
        return "Healthy", ""
    if (expires := access.expires()) and datetime.fromisoformat(expires) <= datetime.now(UTC):
        return "Unhealthy", f"its certificate expired on {expires}; renew it and run pulumi up"
    if info.uptime_seconds < WARM_UP_SECONDS:
        return "Transitioning", "its server is starting"
    return "Unhealthy", f"its server runs, but its health is {answer}"


def _said(words: str) -> str:
    return f"its log ends with: {words}" if words else "its log is empty"


def _host_name() -> str:
    import socket

    return socket.gethostname()
