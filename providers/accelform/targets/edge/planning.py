"""What would go wrong, told before anything is changed: these look at state and loopback and touch nothing."""

from __future__ import annotations

from accelform.errors import BoxDamaged
from accelform.targets.edge import health, processes, records
from accelform.targets.edge.layout import Layout
from accelform.targets.edge.state import BoxState


def port_problem(
    port: int, box: BoxState | None, service: str, *, owner: str = "", listen_address: str = "127.0.0.1"
) -> str | None:
    """Why `service` cannot listen on `port`; None where it can, also because it does already.

    `box` is None where the box does not exist yet. A service of the same `owner` is about to be replaced by this one,
    so its port counts as free.
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
    if problem is None or (owner and _owner_on_another_box(port) == owner):
        return None
    return f"{problem}; choose another port for {service!r} or stop the program that uses it"


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


def _owner_on_another_box(port: int) -> str:
    """Who owns the service on `port` of any box of this user; one that moves to another box takes its port along."""
    for settings in processes.server_settings():
        try:
            # <root>/services/<name>/config-<hash>.json
            record = records.read_service(Layout(settings.parents[2]), settings.parent.name)
        except (BoxDamaged, IndexError):
            continue
        if record is not None and port in record.release.ports:
            return record.owner
    return ""


def _is_same(resident: str, resident_owner: str, service: str, owner: str) -> bool:
    return resident == service or (owner != "" and resident_owner == owner)
