"""What would go wrong, told before anything is changed: these look at state and loopback and touch nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelform.errors import BoxDamaged
from accelform.targets.edge import health, processes, records
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.state import BoxState
from accelform_runtime.settings import LOOPBACK


def port_problem(
    port: int,
    box: BoxState | None,
    service: str,
    *,
    owner: str = "",
    listen_address: str = LOOPBACK,
    root: Path | None = None,
    checkout: str = "",
) -> str | None:
    """Why `service` cannot listen on `port`; None where it can, also because it does already.

    `box` is None where the box does not exist yet. A service of the same `owner` is about to be replaced by this one,
    so its port counts as free, unless another `checkout` of the project, which is still there, has made it; and so does
    one that is left of a box at `root`, whose folder is gone.
    """
    for resident in box.residents if box else ():
        if port in resident.ports:
            if _is_same(resident.service, resident.owner, service, owner):
                return None
            return (
                f"port {port} belongs to service {resident.service!r} of {resident.owner} on edge box "
                f"{box.name if box else ''!r}; choose another port for {service!r}"
            )
    problem = health.bind_problem(port, listen_address=listen_address)
    if problem is None:
        return None
    holder = _holder(port, root)
    if holder is None:
        return f"{problem}; choose another port for {service!r} or stop the program that uses it"
    if holder.root == root or (owner and holder.owner == owner and holder.is_of(checkout)):
        return None
    return (
        f"{problem}, by service {holder.service!r} of edge box {holder.root}; choose another port for {service!r}, "
        "or take that one down where it was made"
    )


def capacity_problem(
    num_replicas: int, box: BoxState | None, service: str, *, fpgas: int, owner: str = ""
) -> str | None:
    """Why a box with `fpgas` FPGAs (the wished number) has no room for `service`; None where it has.

    An edge box has no load balancer in front of its FPGAs, so a service is one replica: one FPGA, one port. `box` is
    None where the box does not exist yet.
    """
    if num_replicas > 1:
        further = f", or declare further web services: the box has {fpgas} FPGAs, one for each" if fpgas > 1 else ""
        return (
            f"{service!r} asks for {num_replicas} replicas, but an edge box has no load balancer and runs one replica "
            f"of a service; set num_replicas to 1{further}"
        )
    others = [row for row in (box.residents if box else ()) if not _is_same(row.service, row.owner, service, owner)]
    if box is None or len(others) < fpgas:
        return None
    named = ", ".join(f"{row.service!r} of {row.owner}" for row in others)
    return (
        f"edge box {box.name!r} has no free FPGA for {service!r}: one FPGA holds one model, and {named} "
        f"{'holds it' if fpgas == 1 else 'hold them'}; remove one, or raise agent_count to {len(others) + 1}"
    )


@dataclass(frozen=True, kw_only=True)
class _Holder:
    """The service that has a port, on any box of this user; without an owner it is left of a box that is gone."""

    root: Path
    service: str
    owner: str = ""
    checkout: str = ""

    def is_of(self, checkout: str) -> bool:
        """Whether that checkout made it, or one that is no longer there."""
        return not checkout or self.checkout in ("", checkout) or not Path(self.checkout).is_dir()


def _holder(port: int, root: Path | None) -> _Holder | None:
    for settings in processes.server_settings():
        if len(settings.parents) < 4:
            continue
        layout = Layout(settings.parents[2])  # <root>/services/<name>/config-<hash>.json
        try:
            record = records.read_service(layout, settings.parent.name)
            box = records.read_box(layout)
        except BoxDamaged:
            continue
        if record is None and layout.root == root:
            return _Holder(root=layout.root, service=settings.parent.name)
        if record is not None and port in record.release.ports:
            checkout = box.checkout if box else ""
            return _Holder(root=layout.root, service=record.name, owner=record.owner, checkout=checkout)
    return None


def _is_same(resident: str, resident_owner: str, service: str, owner: str) -> bool:
    return resident == service or (owner != "" and resident_owner == owner)
