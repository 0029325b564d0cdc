"""Turns at the cluster that all workers of a run share: at some of its nodes, or at all. Nobody waits for ever."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

KUBECONFIG_VARIABLE = "ACCELFORM_TEST_KUBECONFIG"
NODE_COUNT = 4
NODES_OF = {
    "tests/cluster/test_absent_images.py": 1,
    "tests/cluster/test_changes.py": 2,
    "tests/cluster/test_documented.py": 3,
    "tests/cluster/test_failures.py": 2,
    "tests/cluster/test_holdings.py": 0,
}
"""Nodes that the tests of a file claim at a time, beside other files' tests that keep to objects of their own too.

Files of the ring that are not here have the cluster for themselves: they compare all its objects before and after, say,
or bring nodes that anybody could claim.
"""


def nodes_needed(file: str) -> int:
    """Return how many of NODE_COUNT nodes a test file needs; all where it has the cluster for itself, none elsewhere.

    How many somebody's own cluster has is not known, so there each has it for itself.
    """
    if not file.startswith("tests/cluster/"):
        return 0
    return NODE_COUNT if os.environ.get(KUBECONFIG_VARIABLE) else NODES_OF.get(file, NODE_COUNT)


@contextmanager
def turn(folder: Path, *, places: int, of: int = NODE_COUNT) -> Iterator[None]:
    """Hold some places of so many, or none, beside others who do; who takes all of them is alone.

    Who waits keeps newcomers out meanwhile, so that nobody is passed over.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    names = ("gate", "everybody", *(f"place-{number}" for number in range(of)))
    files = [os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in names]
    gate, everybody, *rest = files
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(everybody, fcntl.LOCK_EX if places >= of else fcntl.LOCK_SH)
        if places < of:
            free = list(islice((place for place in rest if _is_got(place)), places))
            for place in [place for place in rest if place not in free][: places - len(free)]:
                fcntl.flock(place, fcntl.LOCK_EX)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
    finally:
        for file in files:
            os.close(file)


def _is_got(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
