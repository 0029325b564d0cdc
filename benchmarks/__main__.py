"""Runs the benchmarks, writes benchmarks/results/<name>.json with the machine's description, and README's numbers."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools import interrupts

from benchmarks import machine, numerics_doc, readme
from benchmarks.peer_tools.environment import PeersUnavailable

SERVING = (
    "serving",
    "small_model",
    "saturation",
    "secure",
    "start",
    "overload",
    "swap",
    "attack",
    "gate",
    "peer_servers",
)
NAMES = (
    "numerics",
    "peers",
    "conformance",
    "where",
    "decode",
    "families",
    *SERVING,
    "lifecycle",
    "accuracy",
    "image_push",
    "in_cluster",
    "scale",
)
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs the named benchmarks, all of them without names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; server: those of serving; default: all"
    )
    names = [
        name for given in parser.parse_args().names or NAMES for name in (SERVING if given == "server" else (given,))
    ]
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    interrupts.restore()
    RESULTS.mkdir(exist_ok=True)
    for name in names:
        print(f"{name}: measuring", flush=True)
        try:
            result = {"machine": machine.describe(), name: importlib.import_module(f"benchmarks.{name}").run()}
        except PeersUnavailable as error:
            print(f"{name}: skipped, {error}", flush=True)
            continue
        text = json.dumps(result, indent=2) + "\n"
        (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
        print(text, flush=True)
        _tell_goals(name, result[name].get("goals", ()))
    readme.update()
    numerics_doc.update()


def _tell_goals(name: str, goals: Sequence[dict[str, Any]]) -> None:
    for goal in goals:
        bound = f"at most {goal['at_most']}" if "at_most" in goal else f"at least {goal['at_least']}"
        print(f"{'met' if goal['met'] else 'MISSED':<7}{name}: {goal['what']}: {goal['measured']}, {bound}", flush=True)


if __name__ == "__main__":
    main()
