"""A box whose folder was renamed, moved or copied: its processes know the place where they were started.

They are found by their command lines, which name that place, and the box's record remembers it. A copy has the same
record; what runs belongs to the box that is still there.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accelform.errors import BoxDamaged
from accelform.targets.edge import processes, records
from accelform.targets.edge.layout import Layout, remove_tree
from accelform.targets.edge.records import BoxRecord
from accelform.targets.edge.supervision import Supervision


def origin(layout: Layout, record: BoxRecord) -> Path | None:
    """Where the processes of this box, or of the box that it is a copy of, were started; None where that is here."""
    recorded = Path(record.root) if record.root else _from_socket(layout, record)
    return None if recorded == layout.root or _is_same_folder(recorded, layout.root) else recorded


def is_copy(place: Path) -> bool:
    """Whether a box still stands at `place`, so that what runs there is its own and another one is a copy of it."""
    try:
        return records.read_box(Layout(place)) is not None
    except BoxDamaged:
        return True


def supervision_of(layout: Layout, record: BoxRecord | None) -> Supervision:
    """The supervisor of the box in its place; in a box that was moved its socket is where it will be."""
    here = record is not None and origin(layout, record) is None
    return Supervision(layout, Path(record.socket) if record and here else layout.socket)


def leave(layout: Layout, place: Path, record: BoxRecord) -> None:
    """Ends every process that was started for the box when it was at `place`."""
    former = Layout(place)
    stop_seconds = max((row.release.stop_seconds for row in records.read_services(layout)), default=0.0)
    processes.stop(lambda: processes.supervisors(former.supervisor_config), grace_seconds=stop_seconds + 10)
    processes.stop_servers(place, grace_seconds=stop_seconds + 5)
    if Path(record.socket).parent != place:
        remove_tree(Path(record.socket))


def settled(layout: Layout, record: BoxRecord) -> BoxRecord:
    """The record of the box in its place."""
    return replace(record, root=str(layout.root), socket=str(layout.socket))


def _from_socket(layout: Layout, record: BoxRecord) -> Path:
    """Boxes from before remember their socket only, which lies in their folder unless its path is too long."""
    socket = Path(record.socket)
    return socket.parent if socket.name == layout.root.joinpath("box.sock").name else layout.root


def _is_same_folder(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
