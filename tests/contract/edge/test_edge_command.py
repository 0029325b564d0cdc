"""`accelform edge`: the box after a reboot, without Pulumi."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

TIMEOUT_SECONDS = 60


def edge(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "accelform.cli.main", "edge", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
    )


def test_a_rebooted_box_is_started_again(bench, make_image, port):
    """After everything was killed at once, status says so and exits 1; start brings the service back and exits 0."""
    bench.provision()
    bench.deploy(make_image(), port=port)
    folder = str(bench.layout.root)
    assert edge("status", folder).returncode == 0

    for pid in (bench.supervisor(), bench.server()):
        os.kill(pid, signal.SIGKILL)
    bench.eventually(lambda: bench.processes() == [], seconds=5, what="all processes gone")
    down = edge("status", folder)
    up = edge("start", folder)

    assert (down.returncode, up.returncode) == (1, 0), down.stdout + up.stdout + up.stderr
    assert "Failed" in down.stdout
    assert f"digits Healthy, http://127.0.0.1:{port}" in up.stdout


def test_no_box(tmp_path):
    """A folder without a box is the user's to correct: exit code 2 and the folder in the message."""
    answer = edge("start", str(tmp_path))

    assert answer.returncode == 2
    assert str(tmp_path) in answer.stderr
