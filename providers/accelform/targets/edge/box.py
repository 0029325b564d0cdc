"""An edge box: a folder that stands for a Data Box Edge with emulated FPGAs, one supervisor and its services."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from accelform._base.progress import Progress, silent
from accelform.errors import BoxInUse, BoxMissing, BoxUnusable, NotOwner, PortInUse
from accelform.targets.edge import health, moving, records, watch
from accelform.targets.edge.deployment import Deployment, Unpack, make_folders
from accelform.targets.edge.layout import Layout, remove_tree, root_problem
from accelform.targets.edge.lock import LOCK_SECONDS, locked
from accelform.targets.edge.records import BoxRecord
from accelform.targets.edge.state import BoxState, FpgaState, Resident, ServiceSpec, ServiceState
from accelform.targets.edge.supervision import Supervision

SERVE_AGAIN_SECONDS = 300.0
"""Longest wait for a service that starts anew because its box was moved."""
_STOP = "stop what listens there, or give the service another port, then run this again"


def _displaced(root: Path, place: Path) -> str:
    if moving.is_copy(place):
        return f"edge box {root} is a copy of {place}, which is still there; its services start here too"
    return f"edge box {root} was moved from {place}; what runs from there is ended, and its services start anew here"


class EdgeBox:
    """The box at `root`. Holds no state: everything is read from the folder, the supervisor and loopback.

    Changes take the box's lock and wait up to `lock_timeout_seconds` for it, else raise BoxBusy. They can be
    repeated after any interruption, also after SIGKILL, and then finish or undo what was begun.
    """

    def __init__(self, root: Path, *, lock_timeout_seconds: float = LOCK_SECONDS) -> None:
        self.root = root.absolute()
        self._layout = Layout(self.root)
        self._lock_timeout_seconds = lock_timeout_seconds

    def provision(
        self,
        *,
        owner: str,
        name: str,
        agent_count: int,
        vm_size: str,
        location: str,
        formerly: str = "",
        checkout: str = "",
        progress: Progress = silent,
    ) -> BoxState:
        """Makes the box, or brings the owner's box to these values, and gets its supervisor and services running.

        A box that belongs to `formerly`, as the owner's stack was called before, is its box too and gets its new name.

        A box whose folder was moved continues in its new place: what was started in the former one is ended first, and
        its services serve again before this returns. `checkout` is the project's folder.

        Raises NotOwner, BoxInUse (fewer FPGAs than residents need), BoxUnusable, BoxBusy, SupervisorFailed.
        """
        problem = root_problem(self.root)
        if agent_count < 1:
            problem = f"agent_count must be above 0, not {agent_count}"
        if not self._layout.box_record.exists() and (strangers := self._layout.strangers()):
            problem = f"{self.root} is not empty (it holds {strangers[0].name}); choose another folder"
        if problem:
            raise BoxUnusable(f"edge box {name!r} cannot be made: {problem}")
        with self._locked():
            there = self._require_owner(owner, formerly)
            wanted = BoxRecord(
                owner=owner,
                formerly=formerly if formerly != owner else there.formerly if there else "",
                name=name,
                agent_count=agent_count,
                vm_size=vm_size,
                location=location,
                socket=str(self._layout.socket),
                root=str(self.root),
                checkout=checkout or (there.checkout if there else ""),
            )
            self._refuse_too_few(wanted)
            settled = self._settle(progress)
            records.write_box(self._layout, wanted)
            make_folders(self._layout, agent_count=agent_count)
            self._bring_up(progress)
        if settled:
            for resident in self.resident():
                self.wait_until_serving(resident.service, timeout_seconds=SERVE_AGAIN_SECONDS, progress=progress)
        state = self.describe()
        if state is None:
            raise BoxMissing(f"edge box {name!r} at {self.root} was removed while it was being provisioned")
        return state

    def describe(self) -> BoxState | None:
        """The box as it is; None where there is none. Changes nothing and waits for nobody. Raises BoxDamaged."""
        record = records.read_box(self._layout)
        if record is None:
            return None
        residents = {row.fpga: row for row in self.resident()}
        errors = [] if self._supervision().is_running() else [f"the supervisor of {self.root} does not run"]
        if (place := moving.origin(self._layout, record)) is not None:
            errors = [_displaced(self.root, place)]
        return BoxState(
            owner=record.owner,
            name=record.name,
            agent_count=record.agent_count,
            vm_size=record.vm_size,
            location=record.location,
            provisioning_state="Failed" if errors else "Succeeded",
            provisioning_errors=tuple(errors),
            fpgas=tuple(FpgaState(index=index, resident=residents.get(index)) for index in range(record.agent_count)),
        )

    def displaced(self) -> str | None:
        """A sentence where the folder was moved or copied and the box is not at home in it yet; changes nothing."""
        record = records.read_box(self._layout)
        place = moving.origin(self._layout, record) if record else None
        return None if place is None else _displaced(self.root, place)

    def resident(self) -> list[Resident]:
        """Which service each taken FPGA belongs to, by FPGA."""
        rows = [
            Resident(
                fpga=record.release.fpga,
                service=record.name,
                owner=record.owner,
                port=record.release.serving.port,
                http_port=record.release.http_port,
                image_location=record.release.image_location,
            )
            for record in records.read_services(self._layout)
        ]
        return sorted(rows, key=lambda row: row.fpga)

    def resize(self, agent_count: int) -> BoxState:
        """Gives the box `agent_count` FPGAs; raises BoxInUse where one that would go has a resident."""
        record = self._require_box()
        return self.provision(
            owner=record.owner,
            name=record.name,
            agent_count=agent_count,
            vm_size=record.vm_size,
            location=record.location,
        )

    def release(self, owner: str) -> None:
        """Stops the supervisor and every service and removes the folder; a box that is gone is fine.

        Files that somebody else put into the folder stay, and the folder with them. Raises NotOwner, BoxBusy.
        """
        if not self._layout.entries():
            self._supervision().clear()  # what still runs from a folder that somebody removed or moved away
            return
        with self._locked():
            record = records.read_box(self._layout)
            if record is None or record.formerly != owner:
                self._require_owner(owner)
            self._settle(silent, to_serve=False)
            self._supervision().shutdown()
            last = (self._layout.box_record, self._layout.lock)
            for entry in (*(entry for entry in self._layout.entries() if entry not in last), *last):
                remove_tree(entry)
            if not self._layout.strangers():
                self._layout.root.rmdir()

    def ensure_running(self, progress: Progress = silent) -> BoxState:
        """Starts the supervisor and every service that does not run, after a reboot or a kill. Raises BoxMissing."""
        self._require_box()  # before the lock, which makes the folder
        with self._locked():
            self._require_box()
            self._settle(progress)
            self._bring_up(progress)
        state = self.describe()
        assert state is not None
        return state

    def deploy(
        self,
        spec: ServiceSpec,
        *,
        unpack: Unpack,
        timeout_seconds: float,
        formerly: str = "",
        progress: Progress = silent,
    ) -> ServiceState:
        """Makes the box run `spec` and returns once it answers SERVING; the same again changes nothing.

        `unpack(folder)` makes `folder` and writes the image's content to `folder`/rootfs, as `images.oci.unpack` does;
        it is called only where the image is not there already. A service of that name and owner is changed: the running
        server takes over other keys, public keys of tokens and certificates; anything else replaces its process, with a
        pause from stopping the old to SERVING of the new, which `progress` announces and then measures. The old release
        is kept until the new one serves. One that belongs to `formerly` is as in `provision`.

        Raises BoxMissing, NotOwner, NoFpgaFree, PortInUse, BoxBusy, SupervisorFailed, whatever `unpack` raises, and
        ServiceNotReady with the server's last words, after going back to the release that served before or, where
        there was none, removing the half-made service.
        """
        self._require_box()
        with self._locked():
            self._require_box()
            if self._settle(progress):
                self._bring_up(progress)
            box = self.describe()
            assert box is not None
            self._deployment(progress).deploy(
                spec, box=box, unpack=unpack, timeout_seconds=timeout_seconds, formerly=formerly
            )
        state = self.service(spec.name)
        if state is None:
            raise BoxMissing(f"service {spec.name!r} was removed from {self.root} right after it was deployed")
        return state

    def remove(self, name: str, owner: str) -> None:
        """Stops the service and frees its FPGA and port; one that is gone is fine. Raises NotOwner, BoxBusy."""
        if not self._layout.entries():
            return
        with self._locked():
            record = records.read_service(self._layout, name)
            if record and owner not in (record.owner, record.formerly):
                raise NotOwner(f"service {name!r} on {self.root} belongs to {record.owner}; {owner} cannot remove it")
            self._settle(silent, to_serve=False)
            self._deployment(silent).remove(name)

    def service(self, name: str) -> ServiceState | None:
        """The service as it is; None where the box has none of that name."""
        record = records.read_service(self._layout, name)
        return watch.state_of(self._layout, self._supervision(), record) if record else None

    def wait_until_serving(self, name: str, *, timeout_seconds: float, progress: Progress = silent) -> ServiceState:
        """Returns once the service answers SERVING. Raises BoxMissing, ServiceNotReady."""
        record = records.read_service(self._layout, name)
        if record is None:
            raise BoxMissing(f"{self.root} has no service {name!r}; it has {[row.service for row in self.resident()]}")
        supervision = self._supervision()
        watch.wait_until_serving(self._layout, supervision, record, timeout_seconds=timeout_seconds, progress=progress)
        return watch.state_of(self._layout, supervision, record)

    def logs(self, name: str, *, lines: int = 100) -> list[str]:
        """The last lines of the service's log, oldest first; empty where there is none."""
        return watch.read_log(self._layout, name, lines=lines)

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._layout, timeout_seconds=self._lock_timeout_seconds)

    def _supervision(self) -> Supervision:
        return moving.supervision_of(self._layout, records.read_box(self._layout))

    def _settle(self, progress: Progress, *, to_serve: bool = True) -> bool:
        """Makes a box that was moved or copied at home where it is; True where it was. Nothing runs then.

        Raises PortInUse where it is `to_serve` and, as with a copy, something else has a port of its services.
        """
        record = records.read_box(self._layout)
        place = moving.origin(self._layout, record) if record else None
        if record is None or place is None:
            return False
        progress(_displaced(self.root, place))
        if not moving.is_copy(place):
            moving.leave(self._layout, place, record)
        for resident in self.resident() if to_serve else ():
            taken = filter(None, (health.bind_problem(port) for port in resident.ports))
            if problem := next(taken, None):
                raise PortInUse(
                    f"{problem}, where service {resident.service!r} of edge box {self.root} listens; {_STOP}"
                )
        self._deployment(progress).write_server_settings()
        records.write_box(self._layout, moving.settled(self._layout, record))
        return True

    def _deployment(self, progress: Progress) -> Deployment:
        return Deployment(self._layout, self._supervision(), progress)

    def _bring_up(self, progress: Progress) -> None:
        deployment = self._deployment(progress)
        deployment.configure()
        if deployment.supervision.ensure_running():
            progress(f"started the supervisor of {self.root}")
        else:
            deployment.supervision.apply()
            deployment.start_all()

    def _require_box(self) -> BoxRecord:
        record = records.read_box(self._layout)
        if record is None:
            raise BoxMissing(f"there is no edge box at {self.root}; provision its compute target first")
        return record

    def _require_owner(self, owner: str, formerly: str = "") -> BoxRecord | None:
        record = records.read_box(self._layout)
        if record and record.owner not in (owner, formerly):
            raise NotOwner(
                f"edge box {record.name!r} at {self.root} belongs to {record.owner}, not to {owner}; "
                "choose another name or another folder"
            )
        return record

    def _refuse_too_few(self, wanted: BoxRecord) -> None:
        cut = [f"{row.service!r} on FPGA {row.fpga}" for row in self.resident() if row.fpga >= wanted.agent_count]
        if cut:
            raise BoxInUse(
                f"edge box {wanted.name!r} cannot shrink to {wanted.agent_count} FPGAs: {', '.join(cut)} would lose "
                "its place; remove that service first, in an update of its own"
            )
