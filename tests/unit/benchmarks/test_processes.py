"""What a tree of processes uses, by the example of this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from benchmarks.processes import census, cpu_seconds, free_port, tree


def test_processor_time_of_a_process_is_what_it_says_itself() -> None:
    """User and system time of a process and of a child that it has waited for, in hundredths of a second."""
    code = (
        "import os, subprocess, sys\n"
        "spin = 'import time\\nwhile time.process_time() < 0.2: pass'\n"
        "exec(spin)\n"
        "subprocess.run([sys.executable, '-c', spin])\n"
        "print(sum(os.times()[:4]), flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = float(process.stdout.readline())

        assert said > 0.35
        assert abs(cpu_seconds(process.pid) - said) < 0.1


def test_children_belong_to_the_tree_while_they_live() -> None:
    """A server's worker counts with its front."""
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        alone, both = census(child.pid), census(os.getpid())

        assert child.pid in tree(os.getpid())
        assert alone.processes == 1 < both.processes
        assert 0 < alone.pss_mib <= alone.rss_mib < both.rss_mib
    assert child.pid not in tree(os.getpid())


def test_sockets_are_counted_apart_from_files() -> None:
    """A connection that is never closed shows."""
    before = census(os.getpid())
    with socket.socket():
        during = census(os.getpid())

    assert during.sockets == before.sockets + 1


def test_free_ports_come_in_a_row() -> None:
    """A tool that listens on three ports gets three."""
    first = free_port(3)
    for port in range(first, first + 3):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", port))
