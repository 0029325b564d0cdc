"""Runs the benchmarks, writes benchmarks/results/<name>.json with the machine's description, and README's numbers."""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path

from benchmarks import machine, numerics_doc, readme
from benchmarks.peer_tools.environment import PeersUnavailable

NAMES = ("numerics", "peers", "conformance", "where", "families", "serving", "small_model", "lifecycle", "accuracy")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Runs the named benchmarks, all of them without names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; default: all")
    names = parser.parse_args().names or NAMES
    if unknown := set(names) - set(NAMES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
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
    readme.update()
    numerics_doc.update()


if __name__ == "__main__":
    main()
