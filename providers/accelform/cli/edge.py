"""accelform edge start|status BOX: look after an edge box where no Pulumi is at hand, such as after a reboot."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.cli.arguments import number
from accelform.cli.printing import say
from accelform.errors import BoxMissing, ServiceNotReady

if TYPE_CHECKING:
    from accelform.targets.edge import EdgeBox
    from accelform.targets.edge.state import FpgaState


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("action", choices=("start", "status"), help="start what should run, or only say what runs")
    parser.add_argument("box", type=Path, help="the box's folder, such as .accelform/edge/edge-box")
    parser.add_argument(
        "--timeout",
        type=number(above=0),
        default=120.0,
        metavar="SECONDS",
        help="longest wait for each service (default: 120)",
    )


def run(args: argparse.Namespace) -> int:
    """Starts or shows the box. Returns 0 where every service is healthy, else 1."""
    from accelform.targets.edge import EdgeBox

    box = EdgeBox(args.box.resolve())
    if args.action == "start":
        box.ensure_running(progress=say)
        problems = [
            problem for resident in box.resident() if (problem := _problem(box, resident.service, args.timeout))
        ]
        if problems:
            raise ServiceNotReady("; ".join(problems))
    state = box.describe()
    if state is None:
        raise BoxMissing(f"there is no edge box in {args.box}; name the folder that holds box.json")
    print(f"edge box {state.name}: {state.provisioning_state}")
    for problem in state.provisioning_errors:
        print(f"  {problem}")
    healthy = [_show(box, fpga) for fpga in state.fpgas]
    return 0 if all(healthy) else 1


def _problem(box: EdgeBox, service: str, timeout_seconds: float) -> str:
    """Why the service does not serve within its time; "" where it does."""
    try:
        box.wait_until_serving(service, timeout_seconds=timeout_seconds)
    except ServiceNotReady as error:
        return str(error)
    return ""


def _show(box: EdgeBox, fpga: FpgaState) -> bool:
    """Prints one FPGA's line; whether it is free or its service healthy."""
    service = box.service(fpga.resident.service) if fpga.resident else None
    if service is None:
        print(f"  FPGA {fpga.index}: free")
        return True
    places = " and ".join(filter(None, (service.scoring_uri, service.http_uri)))
    until = f", certificate until {service.ssl_cert_expires}" if service.ssl_cert_expires else ""
    print(f"  FPGA {fpga.index}: {service.name} {service.state}, {places}{until} {service.reason}".rstrip())
    return service.state == "Healthy"
