"""What runs when the engine cancels: ended, with its children and its folders. Each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

BUSY = """
import subprocess, sys, threading, time
from accelform.resources import cancelling

begun = threading.Event()

def compute():
    begun.set()
    while True:
        sum(range(1000))

def wait_for_a_child():
    begun.set()
    subprocess.run([sys.executable, "-c", "import time; time.sleep(600)"], check=True)

def give_way_to_nothing():
    begun.set()
    time.sleep(600)

def swallow():
    begun.set()
    while True:
        try:
            sum(range(1000))
        except Exception:
            pass

folders = []

def work():
    with cancelling.temporary_folder("accelform-test-") as folder:
        (folder / "half.bin").write_bytes(b"half")
        folders.append(folder)
        globals()[sys.argv[1]]()

def cancel():
    begun.wait()
    cancelling.cancel()

threading.Thread(target=cancel, daemon=True).start()
try:
    cancelling.run(work, what="the creation of Model")
except cancelling.Cancelled as error:
    print(error)
print("left" if folders[0].exists() else "gone")
try:
    cancelling.run(lambda: print("ran"), what="the next")
except cancelling.Cancelled as error:
    print(error)
"""


@pytest.mark.parametrize("work", ["compute", "wait_for_a_child", "give_way_to_nothing", "swallow"])
def test_work_ends_when_it_is_cancelled(work: str) -> None:
    """Also what waits for a child process or in native code, or takes every error for one to be mended."""
    done = subprocess.run([sys.executable, "-c", BUSY, work], capture_output=True, text=True, timeout=120, check=True)

    first, folder, second = done.stdout.splitlines()
    assert first.startswith("the creation of Model was cancelled; nothing of it is visible")
    assert folder == "gone"
    assert second.startswith("the next was cancelled")
    assert done.stderr == ""


def test_answers_and_failures_are_those_of_the_work() -> None:
    """Without a cancel nothing is different, in whichever thread the work runs."""
    from accelform.resources import cancelling

    def fail() -> None:
        raise KeyError("mine")

    assert cancelling.run(lambda: 3, what="it") == 3
    with pytest.raises(KeyError, match="mine"):
        cancelling.run(fail, what="it")


def test_only_a_provider_process_listens() -> None:
    """In any other process there is nothing to listen to, and nothing is changed."""
    from accelform.resources import cancelling

    assert not cancelling.listen()
