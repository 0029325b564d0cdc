"""The box's supervisor: its configuration, its start and stop, and orders to it over its unix socket (XML-RPC)."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import xmlrpc.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelform.errors import SupervisorFailed
from accelform.targets.edge import processes
from accelform.targets.edge.layout import Layout, remove_tree, write_atomically

ORDER_SECONDS = 10.0
START_SECONDS = 30.0
KILL_MARGIN_SECONDS = 5.0
"""How much longer than it should a server may take to end before the supervisor kills it."""

LONGEST_WAIT_SECONDS = 30
"""Before a server that cannot start is tried again."""

UP, STOPPED = ("STARTING", "RUNNING"), ("STOPPED", "EXITED", "FATAL", "UNKNOWN")


@dataclass(frozen=True, kw_only=True)
class Program:
    """One supervised process; `environment` is all that it gets to see, `stop_seconds` what its stop may take."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    stop_seconds: float


@dataclass(frozen=True, kw_only=True)
class ProcessInfo:
    """What the supervisor says about a program; `pid` is 0 where it does not run."""

    state: str
    pid: int
    uptime_seconds: float


@dataclass(frozen=True)
class Supervision:
    """The supervisor of the box at `layout`, listening on `socket`."""

    layout: Layout
    socket: Path

    def configure(self, programs: Sequence[Program]) -> None:
        """Writes the configuration; it takes effect with `apply` or the next start."""
        write_atomically(self.layout.supervisor_config, self._render(programs))

    def is_running(self) -> bool:
        """Whether the supervisor answers."""
        try:
            self._order("getPID", timeout_seconds=3)
        except (OSError, xmlrpc.client.Error):
            return False
        return True

    def ensure_running(self) -> bool:
        """Starts the supervisor unless it answers; returns whether it had to.

        What a killed supervisor left behind holds FPGAs and ports, so it is stopped first. Raises SupervisorFailed.
        """
        if self.is_running():
            return False
        if self._supervisors() and processes.wait_for(self.is_running, timeout_seconds=5):
            return False
        self.clear()
        _private_folder(self.socket.parent, expected=self.layout.root)
        command = [sys.executable, "-P", "-m", processes.SUPERVISOR_MODULE, "-c", str(self.layout.supervisor_config)]
        # A clean environment: a daemon must not keep the caller's passphrases and tokens in memory for months.
        done = subprocess.run(
            command,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            cwd=self.layout.root,  # the configuration's paths of logs start there
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_SECONDS,
        )
        if done.returncode == 0 and processes.wait_for(self.is_running, timeout_seconds=START_SECONDS):
            return True
        said = (done.stderr.strip() or done.stdout.strip() or self._last_log_line()).splitlines()
        raise SupervisorFailed(
            f"the supervisor of edge box {self.layout.root} did not start: {said[-1] if said else 'it said nothing'}; "
            f"its log is {self.layout.supervisor_log}"
        )

    def apply(self) -> None:
        """Makes what runs agree with the configuration: leaves what is the same, stops what is gone or different."""
        added, changed, removed = self._order("reloadConfig")[0]
        for name in (*removed, *changed):
            self.stop(name)
            self._ignoring(("BAD_NAME",), "removeProcessGroup", name)
        for name in (*changed, *added):
            self._ignoring(("ALREADY_ADDED",), "addProcessGroup", name)

    def start(self, name: str) -> None:
        """Starts the program unless it runs: at once, should it wait for its next try. Raises SupervisorFailed."""
        info = self.process(name)
        if info is not None and info.state == "BACKOFF":
            self._ignoring(("BAD_NAME", "NOT_RUNNING"), "stopProcess", name, False)
        self._ignoring(("ALREADY_STARTED", "SPAWN_ERROR"), "startProcess", name, False)

    def stop(self, name: str) -> None:
        """Stops the program: SIGTERM, then SIGKILL after its time and a margin. One that does not run is fine."""
        limit = START_SECONDS + self._stop_seconds()
        self._ignoring(("BAD_NAME", "NOT_RUNNING"), "stopProcess", name, False)

        def stopped() -> bool:
            info = self.process(name)
            return info is None or info.state in STOPPED

        if not processes.wait_for(stopped, timeout_seconds=limit):
            raise SupervisorFailed(f"service {name!r} on edge box {self.layout.root} did not stop in {limit:g} s")

    def process(self, name: str) -> ProcessInfo | None:
        """What the supervisor says about program `name`; None where it has none or does not answer."""
        try:
            info = self._order("getProcessInfo", name)
        except (OSError, xmlrpc.client.Error):
            return None
        uptime_seconds = max(0, info["now"] - info["start"])
        return ProcessInfo(state=info["statename"], pid=info["pid"], uptime_seconds=uptime_seconds)

    def shutdown(self) -> None:
        """Ends the supervisor and every service of the box, whatever state they are in; removes its socket."""
        if self.is_running():
            self._ignoring(("SHUTDOWN_STATE",), "shutdown")
            limit = START_SECONDS + self._stop_seconds()
            # Each look also wakes the supervisor, which otherwise notices a child's end a second later.
            processes.wait_for(lambda: not (self.is_running() or self._supervisors()), timeout_seconds=limit)
        self.clear()
        if self.socket.parent != self.layout.root:
            with contextlib.suppress(OSError):  # other boxes may use the folder
                self.socket.parent.rmdir()

    def log_size(self) -> int:
        """Where the log ends now; a mark for `exits`."""
        return self.layout.supervisor_log.stat().st_size if self.layout.supervisor_log.exists() else 0

    def exits(self, name: str, *, since: int) -> list[str]:
        """How the program ended since the mark, e.g. "exit status 2" or "terminated by SIGKILL", oldest first."""
        try:
            with self.layout.supervisor_log.open("rb") as log:
                log.seek(since if since <= self.log_size() else 0)
                text = log.read().decode(errors="replace")
        except FileNotFoundError:
            return []
        return re.findall(rf"exited: {re.escape(name)} \(([^;)]*)", text)

    def _render(self, programs: Sequence[Program]) -> str:
        # Its own folder is %(here)s there: a path may hold characters that mean something in this file.
        here = self._here
        lines = [
            "; written by Accelform; changes here are overwritten",
            "[unix_http_server]",
            f"file = {here(self.socket)}",
            "chmod = 0600",
            "",
            "[supervisord]",
            f"pidfile = {here(self.layout.supervisor_pid)}",
            f"logfile = {here(self.layout.supervisor_log)}",
            "logfile_maxbytes = 1MB",
            "logfile_backups = 2",
            "childlogdir = %(here)s",
            f"user = {os.getuid()}",
            "umask = 077",
            "minfds = 256",
            "minprocs = 16",
            "",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "",
            "[rpcinterface:restarts]",
            "supervisor.rpcinterface_factory = accelform.targets.restarts:bounded",
            f"longest_wait_seconds = {LONGEST_WAIT_SECONDS}",
            "",
            "[supervisorctl]",
            f"serverurl = unix://{here(self.socket)}",
        ]
        for program in programs:
            lines += [
                "",
                f"[program:{program.name}]",
                f"command = {_command(program)}",
                "directory = /",
                "autostart = true",
                "autorestart = true",
                # An end within this time counts as a failed start and is tried again after 1, 2, 3 ... seconds,
                # so that a server that cannot start does not spin; see targets/restarts.py.
                "startsecs = 5",
                f"startretries = {LONGEST_WAIT_SECONDS}",
                "stopsignal = TERM",
                "killasgroup = true",
                f"stopwaitsecs = {int(program.stop_seconds + KILL_MARGIN_SECONDS)}",
                "redirect_stderr = true",
                f"stdout_logfile = {program.log.relative_to(self.layout.root)}",
                "stdout_logfile_maxbytes = 5MB",
                "stdout_logfile_backups = 2",
            ]
        return "\n".join(lines) + "\n"

    def _here(self, path: Path) -> str:
        """A path as the configuration names it; one elsewhere is the socket's, in a folder that is named here."""
        if path.is_relative_to(self.layout.root):
            return f"%(here)s/{path.relative_to(self.layout.root)}"
        return str(path)

    def _stop_seconds(self) -> float:
        """The longest stop that the configuration on disk allows a program."""
        try:
            text = self.layout.supervisor_config.read_text(encoding="utf-8")
        except FileNotFoundError:
            return KILL_MARGIN_SECONDS
        return max((float(seconds) for seconds in re.findall(r"(?m)^stopwaitsecs = (\d+)$", text)), default=0)

    def _supervisors(self) -> list[int]:
        return processes.supervisors(self.layout.supervisor_config)

    def clear(self) -> None:
        """Ends leftover processes, the supervisor first so that it restarts nothing, and removes its socket."""
        processes.stop(self._supervisors, grace_seconds=2)
        processes.stop_servers(self.layout.root, grace_seconds=self._stop_seconds())
        remove_tree(self.socket)

    def _last_log_line(self) -> str:
        if not self.layout.supervisor_log.exists():
            return ""
        return self.layout.supervisor_log.read_text(errors="replace").strip()

    def _ignoring(self, faults: tuple[str, ...], method: str, *arguments: Any) -> None:
        from supervisor.xmlrpc import Faults

        try:
            self._order(method, *arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in [getattr(Faults, name) for name in faults]:
                raise SupervisorFailed(
                    f"the supervisor of edge box {self.layout.root} refused {method}: {fault.faultString}"
                ) from fault
        except OSError as error:
            raise SupervisorFailed(
                f"the supervisor of edge box {self.layout.root} did not answer {method}: {error}"
            ) from error

    def _order(self, method: str, *arguments: Any, timeout_seconds: float = ORDER_SECONDS) -> Any:
        transport = _transport(self.socket, timeout_seconds)
        try:
            proxy = xmlrpc.client.ServerProxy("http://box", transport=transport)
            call: Callable[..., Any] = getattr(proxy.supervisor, method)
            return call(*arguments)
        finally:
            transport.close()


def _transport(path: Path, timeout_seconds: float) -> xmlrpc.client.Transport:
    """supervisor's own transport over the socket at `path`, with a deadline, which it does not have itself."""
    from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

    class Connection(UnixStreamHTTPConnection):  # type: ignore[misc]
        def connect(self) -> None:
            import socket

            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout_seconds)
            try:
                self.sock.connect(str(path))
            except OSError:
                self.sock.close()
                raise

    transport: xmlrpc.client.Transport = SupervisorTransport(serverurl=f"unix://{path}")
    transport._get_connection = lambda: Connection("localhost")  # type: ignore[attr-defined]
    return transport


def _command(program: Program) -> str:
    """The command line as the supervisor parses it; `env -i` hides the supervisor's own environment."""
    env = shutil.which("env", path=os.defpath) or "/usr/bin/env"
    variables = [f"{name}={value}" for name, value in program.environment.items()]
    line = shlex.join([env, "-i", *variables, *program.command]).replace("%", "%%")
    # After a space these begin a comment in the file; a word with a space is in single quotes, which may end between.
    return line.replace(" #", " ''#").replace(" ;", " '';")


def _private_folder(folder: Path, *, expected: Path) -> None:
    """Makes the socket's folder; one in /tmp that someone else prepared is refused."""
    if folder == expected:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise SupervisorFailed(f"{folder} is not a folder that only this user can enter; remove it and run this again")
