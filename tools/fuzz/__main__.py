"""`make fuzz`: every target for so many runs or minutes; what was found is told, and the last line says how it went."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tools.fuzz import sanitised

ROOT = Path(__file__).parents[2]
TARGETS = ("images", "messages", "rest", "tensors")
AT_ONCE = 500
"""Damaged programs of one process; the next one draws others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where nothing was found, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="make fuzz", description="Search for inputs that break worker and engine.")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs of each target")
    parser.add_argument("--minutes", type=float, help="time of each target instead")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="what the inputs are drawn from")
    parser.add_argument("targets", nargs="*", help=f"of {', '.join((*sanitised.FLAGS, *TARGETS))}; all of them")
    wanted = parser.parse_args(arguments)
    known: dict[str, Callable[[], bool]] = {
        **{name: partial(_engine, name, wanted) for name in sanitised.FLAGS},
        **{name: partial(_worker, name, wanted) for name in TARGETS},
    }
    if unknown := set(wanted.targets) - known.keys():
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    failed = [name for name in wanted.targets or known if not known[name]()]
    print(f"failed: {', '.join(failed)} (seed {wanted.seed})" if failed else f"nothing found (seed {wanted.seed})")
    return bool(failed)


def _engine(name: str, wanted: argparse.Namespace) -> bool:
    if why := sanitised.problem(name):
        print(f"{name}: left out: {why}")
        return True
    until = None if wanted.minutes is None else time.monotonic() + 60 * wanted.minutes
    left = wanted.runs
    for number in itertools.count():
        done = sanitised.fuzz(name, min(left, AT_ONCE) if until is None else AT_ONCE, wanted.seed + number)
        print(f"{name}, seed {wanted.seed + number}: {done.stdout.strip() or done.stderr[-4000:]}", flush=True)
        left -= AT_ONCE
        if done.returncode != 0:
            return False
        if left <= 0 if until is None else time.monotonic() > until:
            return True
    raise AssertionError("counting has no end")


def _worker(name: str, wanted: argparse.Namespace) -> bool:
    bound = f"-runs={wanted.runs}" if wanted.minutes is None else f"-max_total_time={int(60 * wanted.minutes)}"
    words = [sys.executable, "-m", f"tools.fuzz.{name}", bound, f"-seed={wanted.seed % 2**32}"]
    return subprocess.run(words, cwd=ROOT, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
