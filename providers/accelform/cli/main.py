"""The console script `accelform`: finds the command and hands over; each command is a module of this package.

A command module offers `configure(parser)`, which declares its arguments, and `run(arguments) -> int`, the exit code.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Final

from accelform.errors import InternalError, UserError

COMMANDS: Final = {
    "base-image": "build what images for Kubernetes stand on, or write its build context",
    "edge": "start an edge box again, or show what runs on it",
    "estimate": "tell how long the FPGA would take for a network",
    "fidelity": "compare a number format with float32 on your images, layer by layer",
    "quota": "tell how many vCPUs of machines with FPGAs a region has, and what a stack needs",
    "report": "write the page that a conversion writes, without deploying anything",
    "score": "send one image to a web service and print the most likely classes",
    "sweep": "compare several number formats on your images",
    "token": "sign a token for a stack's web service",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser with every command in it."""
    root = argparse.ArgumentParser(prog="accelform", description="Deep networks on FPGAs, declared.")
    root.add_argument("--version", action="version", version=f"accelform {version('accelform')}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        _module(name).configure(command)
    return root


def _module(command: str) -> ModuleType:
    return import_module(f"accelform.cli.{command.replace('-', '_')}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 2 the user can fix it, 1 accelform failed, 130 interrupted.

    Commands may have further codes of their own; their help tells them.
    """
    parsed = parser().parse_args(arguments)
    try:
        return int(_module(parsed.command).run(parsed))
    except UserError as error:
        print(f"accelform {parsed.command}: {error}", file=sys.stderr)
        return 2
    except InternalError as error:
        print(f"accelform {parsed.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
