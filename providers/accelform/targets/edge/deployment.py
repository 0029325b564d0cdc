"""How a service gets onto a box, changes there and leaves it. The caller holds the box's lock.

Every step can be repeated: the record is written before anything is made, content lies under names that follow from
it, and the supervisor is told only what differs. A process that dies in between leaves work that the next call
finishes or removes.
"""

from __future__ import annotations

import errno
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from accelform._base.progress import Progress
from accelform.errors import AccelformError, BoxFull, NoFpgaFree, NotOwner, PortInUse, ServiceNotReady
from accelform.targets.edge import health, planning, processes, records, settings, watch
from accelform.targets.edge.access import AccessFiles
from accelform.targets.edge.layout import Layout, remove_tree
from accelform.targets.edge.records import Release, ServiceRecord
from accelform.targets.edge.state import BoxState, ServiceSpec
from accelform.targets.edge.supervision import UP, Program, Supervision

Unpack = Callable[[Path], None]

HUNG_SECONDS = 60.0
"""A server that runs this long and does not answer SERVING is started anew by the next deploy."""
TAKE_OVER_SECONDS = 5.0
"""How long a running server may take to show another certificate."""
PORT_SECONDS = 10.0
"""How long a port may stay taken after its server ended."""


@dataclass(frozen=True)
class Deployment:
    """Changes to the services of one box."""

    layout: Layout
    supervision: Supervision
    progress: Progress

    def deploy(
        self, spec: ServiceSpec, *, box: BoxState, unpack: Unpack, timeout_seconds: float, formerly: str = ""
    ) -> None:
        """Makes the box run `spec`, from whatever state it is in; see `EdgeBox.deploy`."""
        record = records.read_service(self.layout, spec.name)
        if record and record.owner not in (spec.owner, formerly):
            raise NotOwner(
                f"service {spec.name!r} on edge box {box.name!r} belongs to {record.owner}, not to {spec.owner}; "
                "choose another name"
            )
        self._refuse_without_room(spec, box)
        good = record.good if record else None
        release = self._release(spec, record, fpga=good.fpga if good else _free_fpga(box, spec.name))
        replaces = good is not None and good != release
        wanted = ServiceRecord(
            name=spec.name,
            owner=spec.owner,
            tags=dict(spec.tags),
            ssl_cname=spec.ssl_cname,
            formerly=formerly if formerly != spec.owner else record.formerly if record else "",
            release=release,
            serving=good == release,
            previous=good if replaces else None,
        )
        access = self._access(spec.name, release)
        before = access.contents() if wanted.serving else {}
        try:
            self._prepare(wanted, spec, unpack)
            self._run(wanted, timeout_seconds, announce=replaces, keys=spec.probe_keys)
        except Exception as failure:
            # What the caller remembers is the earlier keys, and a server that starts again needs a good certificate.
            access.restore(before)
            self._undo(wanted, failure, timeout_seconds)
            raise
        done = replace(wanted, serving=True, previous=None)
        records.write_service(self.layout, done)
        self._sweep(done)

    def remove(self, name: str) -> None:
        """Stops the service and removes all it had; one that is not there is fine. Returns once its port is free."""
        record = records.read_service(self.layout, name)
        folder = self.layout.service(name)
        self.configure(without=name)
        if self.supervision.is_running():
            self.supervision.apply()
        else:
            self.supervision.clear()  # one that hangs would start the server again later
        processes.stop_servers(folder, grace_seconds=(record.release.stop_seconds if record else 0.0) + 5)
        if record:
            release = record.release
            processes.wait_for(
                lambda: (
                    not any(
                        health.bind_problem(p, listen_address=release.serving.listen_address) for p in release.ports
                    )
                ),
                timeout_seconds=PORT_SECONDS,
            )
            remove_tree(self.layout.device_lock(release.fpga))
        if folder.is_dir():
            for entry in folder.iterdir():
                if entry != self.layout.service_record(name):
                    remove_tree(entry)
        remove_tree(folder)

    def configure(self, *, without: str = "", instead: ServiceRecord | None = None) -> None:
        """Writes the supervisor's configuration: every service's good release, with the changes given."""
        releases = {record.name: record.good for record in records.read_services(self.layout) if record.name != without}
        if instead:
            releases[instead.name] = instead.release
        self.supervision.configure(
            [self._program(name, release) for name, release in sorted(releases.items()) if release is not None]
        )

    def start_all(self) -> None:
        """Starts every service that should run and does not, also one that was given up or waits for its next try."""
        for record in records.read_services(self.layout):
            info = self.supervision.process(record.name) if record.good else None
            if info is not None and info.state not in UP:
                self.progress(f"starting service {record.name!r}, whose server is {info.state}")
                self.supervision.start(record.name)

    def write_server_settings(self) -> None:
        """Writes the settings of every service's good release again: the paths in them are those of the box."""
        for record in records.read_services(self.layout):
            if (release := record.good) is not None:
                wanted = replace(record, release=release)
                settings.server_config(self.layout, wanted).write(self._config_file(record.name, release))

    def _refuse_without_room(self, spec: ServiceSpec, box: BoxState) -> None:
        problem = planning.capacity_problem(spec.num_replicas, box, spec.name, fpgas=box.agent_count)
        if problem:
            raise NoFpgaFree(problem)
        for port in settings.release_of(spec, fpga=0).ports:
            problem = planning.port_problem(port, box, spec.name, listen_address=spec.serving.listen_address)
            if problem:
                raise PortInUse(problem)

    def _release(self, spec: ServiceSpec, record: ServiceRecord | None, *, fpga: int) -> Release:
        """The release for `spec`. Where it is another process, its keys lie beside the good release's, which stay.

        A spec that differs in nothing but what these files hold is the release that runs already.
        """
        release = settings.release_of(spec, fpga=fpga)
        for known in (record.release, record.previous) if record else ():
            # The digest says which image it is; a store that was moved calls the same one by another location.
            there = replace(release, image_location=known.image_location) if known else release
            if known and known.image_digest == release.image_digest and known.same_process(there):
                return replace(there, keys_slot=known.keys_slot)
        good = record.good if record else None
        return replace(release, keys_slot="b" if good and good.keys_slot == "a" else "a")

    def _prepare(self, record: ServiceRecord, spec: ServiceSpec, unpack: Unpack) -> None:
        """Makes the content beside what runs; nothing is stopped yet."""
        records.write_service(self.layout, record)
        image = self.layout.image(record.name, record.release.image_digest)
        if not (image / "rootfs").is_dir():
            self.progress(f"[1/4] unpacking image {spec.image_location}")
            staging = image.with_name(f".{image.name}.unpacking")
            remove_tree(staging)
            unpack(staging)
            remove_tree(image)
            staging.rename(image)
        else:
            self.progress(f"[1/4] image {spec.image_digest} is already unpacked")
        self.progress("[2/4] writing the configuration")
        self._access(record.name, record.release).write(spec)
        settings.server_config(self.layout, record).write(self._config_file(record.name, record.release))

    def _run(
        self, record: ServiceRecord, timeout_seconds: float, *, announce: bool, keys: tuple[str, ...] = ()
    ) -> None:
        """Replaces the old process by the new one, or starts it where there is none, and waits for SERVING.

        It then also takes every one of `keys`, keys or tokens; one that ran before may not have read them yet.
        """
        release = record.release
        pause = f"; service {record.name!r} pauses until it serves" if announce else ""
        verb = "checking" if record.serving else "starting"
        self.progress(f"[3/4] {verb} the server on FPGA {release.fpga}, port {release.serving.port}{pause}")
        self.layout.device_lock(release.fpga).parent.mkdir(parents=True, exist_ok=True)
        self.configure(instead=record)
        begin = time.monotonic()
        mark = watch.mark(self.layout, self.supervision, record.name)
        if not self.supervision.ensure_running():
            self.supervision.apply()
        info = self.supervision.process(record.name)
        if info and info.pid and info.uptime_seconds > HUNG_SECONDS and self._hangs(record):
            self.supervision.stop(record.name)
            info = None
        if info is None or not info.pid:
            self.supervision.start(record.name)
        self.progress("[4/4] waiting for SERVING")
        watch.wait_until_serving(
            self.layout,
            self.supervision,
            record,
            timeout_seconds=timeout_seconds,
            progress=lambda text: self.progress(f"[4/4] {text}"),
            since=mark,
            keys=keys,
        )
        took = f"{time.monotonic() - begin:.1f} s"
        self.progress(f"service {record.name!r} is SERVING{f'; paused {took}' if announce else f' after {took}'}")

    def _hangs(self, record: ServiceRecord) -> bool:
        """Whether a server that has long been up does not answer; one that takes over a certificate gets time to."""
        access = self._access(record.name, record.release)
        return not processes.wait_for(lambda: access.health() == "SERVING", timeout_seconds=TAKE_OVER_SECONDS)

    def _undo(self, record: ServiceRecord, failure: Exception, timeout_seconds: float) -> None:
        """Goes back to the release that served before; without one, removes the half-made service."""
        if record.previous is None:
            if not record.serving:
                self.remove(record.name)
            _raise_if_full(self.layout, failure)
            return
        self.progress(f"rolling back: {failure}")
        back = replace(record, release=record.previous, previous=None, serving=True)
        records.write_service(self.layout, back)
        outcome = "the previous release serves again"
        try:
            self._run(back, timeout_seconds, announce=False)
        except AccelformError as second:
            outcome = f"the previous release did not come back either: {second}"
        self._sweep(back)
        _raise_if_full(self.layout, failure)
        if isinstance(failure, ServiceNotReady):
            raise ServiceNotReady(f"{failure}; {outcome}") from failure

    def _sweep(self, record: ServiceRecord) -> None:
        """Removes what earlier releases of the service left."""
        release = record.release
        log = self.layout.service_log(record.name).name
        keep = {self.layout.service_record(record.name).name, self._config_file(record.name, release).name}
        keep |= {self.layout.image(record.name, release.image_digest).name, *self._access(record.name, release).names()}
        for entry in self.layout.service(record.name).iterdir():
            if entry.name not in keep and not entry.name.startswith(log):
                remove_tree(entry)

    def _access(self, name: str, release: Release) -> AccessFiles:
        return AccessFiles.of(self.layout, name, release)

    def _config_file(self, name: str, release: Release) -> Path:
        return self.layout.service(name) / f"config-{release.fingerprint}.json"

    def _program(self, name: str, release: Release) -> Program:
        rootfs = self.layout.image(name, release.image_digest) / "rootfs"
        # -S leaves out this environment's packages: the server runs from what the image holds and nothing else.
        python = [sys.executable, "-S", "-s", "-P", "-m", processes.SERVER_MODULE]
        return Program(
            name=name,
            command=[*python, "--model-dir", str(rootfs / "model"), "--config", str(self._config_file(name, release))],
            environment={
                "PATH": "/usr/bin:/bin",
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(rootfs / "opt" / "accelform"),
                "PYTHONDONTWRITEBYTECODE": "1",
                **_told_by_image(rootfs.parent),
            },
            log=self.layout.service_log(name),
            stop_seconds=release.stop_seconds,
        )


def make_folders(layout: Layout, *, agent_count: int) -> None:
    """Makes the folders of a box and takes those of FPGAs it no longer has."""
    layout.services.mkdir(exist_ok=True)
    for index in range(agent_count):
        (layout.fpgas / str(index)).mkdir(parents=True, exist_ok=True)
    for folder in layout.fpgas.iterdir():
        if int(folder.name) >= agent_count:
            remove_tree(folder)


def _told_by_image(image: Path) -> dict[str, str]:
    """The sha256 of the model's description, which the image's digest covers: the server compares it."""
    from accelform_runtime.device.bundle import DIGEST_VARIABLE

    try:
        environment = json.loads((image / "image.json").read_text(encoding="utf-8"))["environment"]
        return {DIGEST_VARIABLE: str(environment[DIGEST_VARIABLE])}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # an image of an earlier version, or one that is unpacked again before it runs


def _free_fpga(box: BoxState, service: str) -> int:
    for fpga in box.fpgas:
        if fpga.resident is None or fpga.resident.service == service:
            return fpga.index
    raise NoFpgaFree(f"edge box {box.name!r} has no free FPGA for {service!r}")


def _raise_if_full(layout: Layout, failure: Exception) -> None:
    if isinstance(failure, OSError) and failure.errno in (errno.ENOSPC, errno.EDQUOT):
        raise BoxFull(
            f"no space left for edge box {layout.root} ({failure.strerror}); free some, then deploy again"
        ) from failure
