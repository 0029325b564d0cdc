"""Starting and stopping a cluster, step by step, with what each step waits for and its deadline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tools.cluster import state
from tools.cluster.api import Api
from tools.cluster.control import controllers, storage_and_api
from tools.cluster.images import push_pause
from tools.cluster.keeper import FAILED_FILE, READY_FILE
from tools.cluster.layout import MAX_NODES, Layout
from tools.cluster.network import free_port, reserve_number
from tools.cluster.node import node_programs, write_node
from tools.cluster.pki import write_pki
from tools.cluster.program import FOLDER_VARIABLE, NAME_VARIABLE, Program
from tools.cluster.registry import registry_programs, write_registry
from tools.cluster.requirements import missing, short_of_watches
from tools.progress import StepFailed, elapsed, say

PROJECT = Path(__file__).resolve().parents[2]
# Only the keeper may need long: all else is watched here.
EXEC_SECONDS = 2.0
STEP_SECONDS = 120.0
STARTED_FILE = "started"
LOG_LINES = 15


def start(folder: Path, *, node_count: int, bin_folder: Path, owner: int | None = None) -> Layout:
    """Start a cluster and return when all its nodes are Ready; one that already is up there is returned as it is.

    `owner` is the process for whom it is: the cluster ends, and removes its folder, when that process does.
    Raises StepFailed with the failing program's last lines; nothing is left then.
    """
    if not 1 <= node_count <= MAX_NODES:
        raise StepFailed(f"a cluster has 1 to {MAX_NODES} nodes, not {node_count}")
    folder = folder.resolve()
    problems = missing(folder)
    if problems:
        raise StepFailed("; ".join(problems))
    with state.locked(folder):
        running = Layout.load(folder)
        if running is not None and (folder / STARTED_FILE).exists() and has_keeper(running):
            if running.node_count != node_count:
                raise StepFailed(f"{folder} has a cluster of {running.node_count} nodes; stop it first, or reuse it")
            say(f"  a cluster of {node_count} nodes is already up in {folder}")
            return running
        if any(folder.iterdir()):
            state.clean(folder)
            say(f"  removed what an earlier cluster left in {folder}")
        shortage = short_of_watches(node_count)
        if shortage:
            state.remove(folder)
            raise StepFailed(shortage)
        started = time.monotonic()
        try:
            layout = _start(folder, node_count, bin_folder, owner)
        except BaseException as failure:
            reason = _explain(folder, failure) if isinstance(failure, Exception) else ""
            state.remove(folder)
            if reason:
                raise StepFailed(reason) from failure
            raise
        say(f"  {node_count} nodes are Ready ({elapsed(time.monotonic() - started)}): KUBECONFIG={layout.kubeconfig}")
        return layout


def stop(folder: Path) -> bool:
    """End a cluster and remove all that it has or left; False when there was nothing."""
    folder = folder.resolve()
    if not folder.exists() and not state.processes(folder):
        return False
    with state.locked(folder):
        state.remove(folder)
    return True


def has_keeper(layout: Layout) -> bool:
    """Tell whether the keeper lives: then all else does, or will in a moment."""
    return "keeper" in state.processes(layout.folder).values()


def is_up(layout: Layout) -> bool:
    """Tell whether the keeper lives, the API server answers and every node is Ready."""
    if not has_keeper(layout) or not layout.kubeconfig.exists():
        return False
    try:
        return set(layout.nodes) <= Api(layout.kubeconfig).ready_nodes()
    except OSError:
        return False


def _start(folder: Path, node_count: int, bin_folder: Path, owner: int | None) -> Layout:
    number, claim = reserve_number()
    with claim:
        layout = Layout(
            folder=folder,
            number=number,
            node_count=node_count,
            registry_port=free_port(),
            bin_folder=bin_folder.resolve(),
        )
        layout.save()
        for path in (layout.logs, layout.programs, layout.registries):
            path.mkdir()
        write_pki(layout)
        write_registry(layout)
        for node in layout.nodes:
            write_node(layout, node)
        _run(layout, *storage_and_api(layout), *registry_programs(layout))
        _start_keeper(layout, claim.fileno(), owner)
    _wait_for(lambda: _keeper_ready(layout), "the nodes' namespaces, network and disks")
    api = Api(layout.kubeconfig)
    _wait_for(api.ready, "the API server")
    _run(layout, *controllers(layout))
    for node in layout.nodes:
        _run(layout, *node_programs(layout, node))
    push_pause(layout)
    _wait_for(lambda: set(layout.nodes) <= api.ready_nodes(), "all nodes to be Ready")
    # Pods are refused in a namespace before its default service account is there.
    _wait_for(lambda: api.exists("/api/v1/namespaces/default/serviceaccounts/default"), "the controllers")
    (folder / STARTED_FILE).touch()
    return layout


def _start_keeper(layout: Layout, claim: int, owner: int | None) -> None:
    """Start the keeper as nobody's child: it is to outlive us, and we may run on when it ends."""
    descriptors = [claim]
    watched = -1
    if owner is not None:
        watched = os.pidfd_open(owner)
        os.set_inheritable(watched, True)
        descriptors.append(watched)
    namespaces = ["--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--propagation", "private"]
    keeper = [sys.executable, "-m", "tools.cluster.keeper", str(layout.folder), str(watched)]
    environment = dict(os.environ) | {
        "PATH": os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]),
        "PYTHONPATH": str(PROJECT),
        FOLDER_VARIABLE: str(layout.folder),
        NAME_VARIABLE: "keeper",
    }
    try:
        with (layout.logs / "keeper").open("ab") as log:
            subprocess.run(
                ["setsid", "--fork", "unshare", *namespaces, *keeper],
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                check=True,
            )
    finally:
        if watched >= 0:
            os.close(watched)


def _keeper_ready(layout: Layout) -> bool:
    # A process shows no environment while it turns into another program, so one look without any is no end.
    end = time.monotonic() + EXEC_SECONDS
    while not state.processes(layout.folder):
        if time.monotonic() > end:
            raise StepFailed("the keeper ended")
        time.sleep(0.05)
    if (layout.folder / FAILED_FILE).exists():
        raise StepFailed("the keeper ended")
    return (layout.folder / READY_FILE).exists()


def _run(layout: Layout, *programs: Program) -> None:
    for program in programs:
        program.save(layout.programs)


def _wait_for(done: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + STEP_SECONDS
    said = time.monotonic() + 10
    while True:
        try:
            if done():
                return
        except OSError:
            pass
        if time.monotonic() > end:
            raise StepFailed(f"gave up after {STEP_SECONDS:g} s of waiting for {what}")
        if time.monotonic() > said:
            said += 10
            say(f"  still waiting for {what}")
        time.sleep(0.1)


def _explain(folder: Path, failure: Exception) -> str:
    """Name the failure, and the last lines of the programs that did not stay up."""
    lines = [f"the cluster in {folder} did not start: {failure}"]
    keeper = folder / "log" / "keeper"
    told = keeper.read_text(encoding="utf-8", errors="replace").splitlines() if keeper.exists() else []
    ended = {line.split(" ended with ")[0] for line in told if " ended with " in line}
    for name in sorted(ended) or ["keeper"]:
        file = folder / "log" / name
        if file.exists():
            last = file.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
            lines += [f"--- last lines of {name}", *last]
    return "\n".join(lines)
