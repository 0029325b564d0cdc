"""The cluster's first process, in a process and mount namespace of its own: it runs the programs, and all ends with it.

`python -m tools.cluster.keeper FOLDER OWNER` is started by `start`; OWNER is an inherited file descriptor of the
process for whom the cluster is (it ends when that one does), or -1.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from tools.cluster import cgroups, state
from tools.cluster.layout import Layout
from tools.cluster.network import connect, disconnect
from tools.cluster.node import mount_script
from tools.cluster.program import FOLDER_VARIABLE, NAME_VARIABLE, Program
from tools.progress import StepFailed

LOOK_SECONDS = 0.2
AGAIN_SECONDS = 1.0
READY_FILE = "keeper-ready"
FAILED_FILE = "keeper-failed"


@dataclass(kw_only=True)
class Keeper:
    """What runs now: process ids by program, and when an ended program may start again."""

    layout: Layout
    holders: dict[str, int] = field(default_factory=dict)
    running: dict[str, int] = field(default_factory=dict)
    not_before: dict[str, float] = field(default_factory=dict)

    def make_places(self) -> None:
        """Make the namespaces of the control plane and of each node, their network, disks and cgroups."""
        self.holders["control"] = self._hold("--net")
        for node in self.layout.nodes:
            self.holders[node] = self._hold("--net", "--mount", "--uts", "--ipc", "--propagation", "private")
        connect(self.layout, self.holders)
        for node in self.layout.nodes:
            cgroups.create(f"{self.layout.cgroup}/{node}")
            enter = ["nsenter", "-t", str(self.holders[node]), "-m", "-u"]
            subprocess.run([*enter, "sh", "-euc", mount_script(self.layout, node)], check=True)

    def reconcile(self) -> None:
        """Start what has a file and does not run; end what runs and has none."""
        wanted = {file.stem: file for file in self.layout.programs.glob("*.json")}
        for name in self.running.keys() - wanted.keys():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.running[name], signal.SIGTERM)
        for name in wanted.keys() - self.running.keys():
            if time.monotonic() >= self.not_before.get(name, 0):
                with contextlib.suppress(FileNotFoundError):
                    self._start(Program.load(wanted[name]))

    def reap(self) -> None:
        """Take leave of every process that ended, also of the containers' orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for name in [name for name, running in self.running.items() if running == pid]:
                print(f"{name} ended with {os.waitstatus_to_exitcode(status)}", flush=True)
                del self.running[name]
                self.not_before[name] = time.monotonic() + AGAIN_SECONDS

    def end(self) -> None:
        """End every process, and remove the cgroups."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        disconnect(self.layout)
        cgroups.remove(self.layout.cgroup, deadline_seconds=10)

    def _hold(self, *namespaces: str) -> int:
        process = subprocess.Popen(["unshare", *namespaces, "sleep", "infinity"], env=self._environment("holder"))
        ours = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{process.pid}/ns/net") == ours:
            time.sleep(0.005)
        return process.pid

    def _start(self, program: Program) -> None:
        command = list(program.arguments)
        if program.place:
            scope = ["-n"] if program.place == "control" else ["-n", "-m", "-u", "-i"]
            command = ["nsenter", "-t", str(self.holders[program.place]), *scope, "--", *command]
        with (self.layout.logs / program.name).open("ab") as log:
            # Not subprocess: its bookkeeping and our own waitpid(-1) would take each other's children.
            self.running[program.name] = os.posix_spawnp(
                command[0],
                command,
                {**self._environment(program.name), **program.environment},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 1),
                    (os.POSIX_SPAWN_DUP2, log.fileno(), 2),
                ],
                setsid=True,
            )

    def _environment(self, name: str) -> dict[str, str]:
        return dict(os.environ) | {FOLDER_VARIABLE: str(self.layout.folder), NAME_VARIABLE: name}


def main() -> int:
    """Keep the cluster of a folder until SIGTERM or until its owner is gone."""
    folder, owner = Path(sys.argv[1]), int(sys.argv[2])
    layout = Layout.load(folder)
    assert layout is not None
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    keeper = Keeper(layout=layout)
    try:
        keeper.make_places()
    except Exception as failure:
        traceback.print_exc()
        (folder / FAILED_FILE).write_text(str(failure), encoding="utf-8")
        stopping.append(0)
    else:
        (folder / READY_FILE).touch()
    alone = False
    while not stopping and not alone:
        keeper.reap()
        keeper.reconcile()
        if owner < 0:
            time.sleep(LOOK_SECONDS)
        else:
            alone = bool(select.select([owner], [], [], LOOK_SECONDS)[0])
    keeper.end()
    if alone:
        # Somebody who removes it at the same time has the same aim.
        with contextlib.suppress(OSError, StepFailed):
            state.remove(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
