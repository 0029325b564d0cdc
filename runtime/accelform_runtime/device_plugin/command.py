"""What `python3 -m accelform_runtime.device_plugin` does: becomes the plugin, or looks at the node's FPGAs."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from accelform_runtime.device_plugin import COMMANDS
from accelform_runtime.device_plugin.fpgas import DEVICES_FOLDER, Fpga, Fpgas
from accelform_runtime.errors import UserError
from accelform_runtime.front.build import PROGRAM
from accelform_runtime.server.files import front_problem


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns the exit code, or becomes the plugin."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in COMMANDS:
            return _command(words)
        _become_plugin(words)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _become_plugin(flags: Sequence[str]) -> NoReturn:
    if problem := front_problem():
        raise problem
    os.execv(PROGRAM, [PROGRAM.name, "device-plugin", *flags])


def _command(words: Sequence[str]) -> int:
    given = _parser().parse_args(words)
    fpgas = Fpgas(given.devices_folder)
    if given.command == "fault":
        fpgas.fault(given.id, given.reason)
        print(f"{given.id} is unusable: {given.reason}")
    elif given.command == "heal":
        fpgas.heal(given.id)
        print(f"{given.id} can be used again")
    elif given.json:
        print(json.dumps([dataclasses.asdict(each) for each in fpgas.all()], indent=2))
    else:
        print(_table(fpgas.all()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m accelform_runtime.device_plugin")
    commands = parser.add_subparsers(dest="command", required=True)
    fault = commands.add_parser("fault", help="make an FPGA unusable: the pod that holds it is replaced")
    fault.add_argument("id", help="its name, fpga-0 for the first")
    fault.add_argument("reason", nargs="?", default="a fault was asked for", help="what logs and events tell")
    heal = commands.add_parser("heal", help="make it usable again")
    heal.add_argument("id")
    show = commands.add_parser("list", help="show the node's FPGAs")
    show.add_argument("--json", action="store_true")
    for command in (fault, heal, show):
        command.add_argument("--devices-folder", type=Path, default=DEVICES_FOLDER)
    return parser


def _table(fpgas: Sequence[Fpga]) -> str:
    rows = [("FPGA", "HEALTH", "SERVICE", "REASON")]
    rows += [(each.id, each.health, each.service or "-", each.reason or "-") for each in fpgas]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
