"""Watching a service: is it serving, and if not, why."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable

from accelform.errors import ServiceNotReady
from accelform.targets.edge import health
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.records import ServiceRecord
from accelform.targets.edge.state import ServiceState, ServiceStatus
from accelform.targets.edge.supervision import UP, ProcessInfo, Supervision

WARM_UP_SECONDS = 60.0
"""A server that runs this long and does not answer SERVING counts as unhealthy and no longer as starting."""
ENDS_ALLOWED = 3
USER_ERROR = "exit status 2"


def wait_until_serving(
    layout: Layout,
    supervision: Supervision,
    record: ServiceRecord,
    *,
    timeout_seconds: float,
    progress: Callable[[str], None],
    since: int | None = None,
) -> None:
    """Returns once the service's own process answers SERVING.

    `since` is the mark in the supervisor's log (`Supervision.log_size`) from which ends of the process count.
    Raises ServiceNotReady with the server's last words at the deadline, or at once where waiting cannot help: the
    server says that someone has to change something (exit status 2), or it ended again and again.
    """
    begin = time.monotonic()
    told = 0.0
    mark = supervision.log_size() if since is None else since
    while True:
        waited = time.monotonic() - begin
        info = supervision.process(record.name)
        if info and info.pid and info.state in UP and health.check(record.release.port) == "SERVING":
            return
        ends = supervision.exits(record.name, since=mark)
        if (info and info.state == "FATAL") or USER_ERROR in ends or len(ends) >= ENDS_ALLOWED:
            why = f"its server ended with {ends[-1]}" if ends else "its server cannot be started"
        elif waited > timeout_seconds:
            why = f"it was not SERVING within {timeout_seconds:g} s"
            why += f" and its server ended with {ends[-1]}" if ends else ""
        else:
            if waited - told >= 5:
                told = waited
                progress(f"waiting for SERVING, {waited:.0f} of {timeout_seconds:g} s")
            time.sleep(0.1)
            continue
        raise ServiceNotReady(f"service {record.name!r} did not start: {why}; {_said(last_words(layout, record.name))}")


def state_of(layout: Layout, supervision: Supervision, record: ServiceRecord) -> ServiceState:
    """The service as it is now."""
    info = supervision.process(record.name)
    state, reason = _judge(layout, supervision, record, info)
    release = record.release
    host = "127.0.0.1" if release.listen_address == "127.0.0.1" else _host_name()
    return ServiceState(
        name=record.name,
        owner=record.owner,
        state=state,
        reason=reason,
        fpga=release.fpga,
        port=release.port,
        scoring_uri=f"http://{host}:{release.port}",
        image_location=release.image_location,
        image_digest=release.image_digest,
        pid=info.pid if info else 0,
        tags=dict(record.tags),
    )


def read_log(layout: Layout, name: str, *, lines: int) -> list[str]:
    """The last `lines` lines of the service's log, oldest first; empty where it has none."""
    try:
        with layout.service_log(name).open(encoding="utf-8", errors="replace") as log:
            return [line.rstrip("\n") for line in deque(log, maxlen=lines)]
    except FileNotFoundError:
        return []


def last_words(layout: Layout, name: str) -> str:
    """The newest log line that tells what went wrong: the last error, else the last line; "" for an empty log."""
    lines = [line for line in read_log(layout, name, lines=50) if line.strip()]
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and str(entry.get("level", "")).lower() in ("error", "critical", "fatal"):
            return _text(entry)
    if not lines:
        return ""
    try:
        entry = json.loads(lines[-1])
    except ValueError:
        return lines[-1].strip()
    return _text(entry) if isinstance(entry, dict) else lines[-1].strip()


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
    answer = health.check(record.release.port)
    if answer == "SERVING":
        return "Healthy", ""
    if info.uptime_seconds < WARM_UP_SECONDS:
        return "Transitioning", "its server is starting"
    return "Unhealthy", f"its server runs, but its health is {answer}"


def _said(words: str) -> str:
    return f"its log ends with: {words}" if words else "its log is empty"


def _text(entry: dict[str, object]) -> str:
    for key in ("error", "message", "msg", "event"):
        if entry.get(key):
            return str(entry[key])
    return json.dumps(entry)


def _host_name() -> str:
    import socket

    return socket.gethostname()
