"""The console script `accelform`: finds the command and hands over; each command is a module of this package.

A command module offers `configure(parser)`, which declares its arguments, and `run(arguments) -> int`, the exit code.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import Final

from accelform.cli.arguments import Parser
from accelform.cli.printing import OutputUnwritable, guarded_output
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


TRACEBACK: Final = "ACCELFORM_TRACEBACK"
"""The variable that asks for the traceback of a failure of ours."""


def parser() -> Parser:
    """Return the parser with every command in it."""
    root = Parser(prog="accelform", description="Deep networks on FPGAs, declared.")
    root.add_argument("--version", action="version", version=f"accelform {version('accelform')}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        _module(name).configure(command)
    return root


def _module(command: str) -> ModuleType:
    return import_module(f"accelform.cli.{command.replace('-', '_')}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns its exit code: 0 done, 2 the user can fix it, 1 accelform failed, 130 interrupted, 141
    whoever read the output has gone.

    Commands may have further codes of their own; their help tells them.
    """
    command = "accelform"
    try:
        with guarded_output():
            root = parser()
            parsed = root.parse_args(arguments)
            if parsed.command is None:
                root.print_help(sys.stderr)
                return 2
            command = f"accelform {parsed.command}"
            return int(_module(parsed.command).run(parsed))
    except OutputUnwritable as error:
        return _told(f"{command}: {error}" if str(error) else "", error.code)
    except UserError as error:
        return _told(f"{command}: {error}", 2)
    except InternalError as error:
        return _told(f"{command}: {error}", 1)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # A folder that may not be written, a disk that is full: the system's own words, and on which file.
        place = f"{error.filename}: " if error.filename is not None else ""
        return _told(f"{command}: {place}{error.strerror or error}", 2)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        kind = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return _told(
            f"{command}: accelform failed: {kind}. Please report it with what {TRACEBACK}=1 {command} … prints", 1
        )


def _told(message: str, code: int) -> int:
    """Says it where somebody can still read it. Returns the exit code."""
    try:
        if message:
            print(message, file=sys.stderr, flush=True)
    except OSError:
        pass
    return code


if __name__ == "__main__":
    sys.exit(main())
