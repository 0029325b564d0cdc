"""accelform quota: vCPUs of machines with FPGAs in each region: used, allowed, needed.

Exit codes: 0 the quota suffices; 3 it does not; 2 the user can fix it (a wrong name, an unreadable file); 1 failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.printing import table
from accelform.errors import UserError
from accelform.plans import regions
from accelform.plans.quota import Quota, limit_of

if TYPE_CHECKING:
    from accelform.cli.stack_settings import StackSettings
    from accelform.targets.kubernetes.quota import Usage

EXIT_TOO_LITTLE: Final = 3
_VM_SIZE: Final = "Standard_PB6s"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A region's quota, how much of `current` is the stack's own already, and a remark."""

    quota: Quota
    current: int | None
    remark: str = ""

    @property
    def state(self) -> str:
        """One word of judgement, and the remark."""
        word = f"{self.quota.missing} vCPUs missing"
        if self.quota.suffices:
            word = "suffices" if self.quota.needed else f"room for {self.quota.room}"
            word += "" if self.current is not None else " if nothing else is used"
        return "; ".join(filter(None, (word, self.remark)))

    def as_plain(self) -> dict[str, Any]:
        return {
            "location": self.quota.location,
            "display_name": regions.DISPLAY_NAMES[self.quota.location],
            "family": regions.QUOTA_FAMILY,
            "current": self.current,
            "limit": self.quota.limit,
            "needed": self.quota.needed,
            "missing": self.quota.missing,
            "suffices": self.quota.suffices,
            "problem": self.quota.problem(),
            "remark": self.remark,
        }


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--location", metavar="REGION", help="one region, asked for one machine (default: all regions)")
    which.add_argument("--stack", metavar="STACK", help="the region, machines and limit of a stack's settings")
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="where pools are looked for (default: as the stack, kubectl)"
    )
    parser.add_argument(
        "--context", metavar="CONTEXT", help="context of the kubeconfig (default: as the stack, kubectl)"
    )
    parser.epilog = "Exit codes: 0 the quota suffices, 3 it does not, 2 you can fix what failed, 1 accelform failed."
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Looks and prints. Returns 0 where the quota suffices, else 3."""
    from accelform.cli import stack_settings
    from accelform.targets.kubernetes import quota

    settings = stack_settings.read(args.stack) if args.stack else None
    kubeconfig = str(args.kubeconfig.expanduser().absolute()) if args.kubeconfig else ""
    context = args.context or ""
    if settings:
        kubeconfig = kubeconfig or settings.text("kubeconfig")
        context = context or settings.text("kube_context")
    usage = quota.look(kubeconfig, context)
    rows = [_stack_row(settings, usage)] if settings else _region_rows(args.location, usage)
    if args.json:
        print(json.dumps({"source": usage.source, "trouble": usage.trouble or None, "regions": _plain(rows)}, indent=2))
    else:
        print(_table(rows))
        told = f"current is unknown: {usage.trouble}" if usage.trouble else f"current: pools in {usage.source}"
        print(told, file=sys.stderr)
        for problem in filter(None, (row.quota.problem() for row in rows)):
            print(problem, file=sys.stderr)
    return 0 if all(row.quota.suffices for row in rows) else EXIT_TOO_LITTLE


def _region_rows(location: str | None, usage: Usage) -> list[Row]:
    """One region with one machine in mind, or all of them with none."""
    if location and (problem := regions.region_problem(location)):
        raise UserError(problem)
    rows = []
    for name in (location,) if location else regions.FPGA_REGIONS:
        current = usage.in_region(name)
        needed = regions.vcpus(_VM_SIZE, 1) if location else 0
        wanted = Quota(location=name, limit=limit_of(name), current=current, needed=needed)
        rows.append(Row(quota=wanted, current=current))
    return rows


def _stack_row(settings: StackSettings, usage: Usage) -> Row:
    """What the stack's pool takes beside what others use; a box and an attached pool take nothing."""
    location, vm_size = settings.text("location"), settings.text("vm_size") or _VM_SIZE
    for problem in (regions.region_problem(location), regions.vm_size_problem(vm_size)):
        if problem:
            raise UserError(f"stack {settings.stack!r}: {problem}")
    current = usage.in_region(location)
    own = usage.of_stack(location, settings.owner)
    needed, remark = regions.vcpus(vm_size, settings.integer("agent_count") or 1), ""
    if settings.text("target") != "kubernetes":
        needed, remark = 0, "an edge box takes nothing from it"
    elif settings.boolean("is_attached"):
        needed, remark = 0, "an attached pool takes nothing from it"
    elif own:
        remark = f"{own} of the current are this stack's"
    wanted = Quota(
        location=location,
        limit=limit_of(location, settings.integer("quota_vcpus")),
        current=None if current is None else current - own,
        needed=needed,
        vm_size=vm_size,
    )
    return Row(quota=wanted, current=current, remark=remark)


def _plain(rows: list[Row]) -> list[dict[str, Any]]:
    return [row.as_plain() for row in rows]


def _table(rows: list[Row]) -> str:
    cells = [("LOCATION", "CURRENT", "LIMIT", "NEEDED", "STATE")]
    for row in rows:
        current = "unknown" if row.current is None else str(row.current)
        needed = str(row.quota.needed)
        cells.append((row.quota.location, current, str(row.quota.limit), needed, row.state))
    return f"{regions.QUOTA_FAMILY}\n\n{table(cells[0], cells[1:], numbers=False)}"
