"""A model into a registry: its layers on a base image there, against buildah building and pushing the same image.

ResNet-50 with seeded weights, whose bytes compress as real ones do. In each round another classifier on the same
featurizer (the bytes of two files change), which is what a retrained service is. buildah copies the model onto the same
base, on a machine that has that base already ("warm") and on one that has to pull it ("fresh", as CI machines are).
Seconds are taken without anything in between; bytes, both ways, in rounds of their own through a relay that counts.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.support import registries
from tools.cluster.rootfs import rootfs

from accelform.conversion import convert
from accelform.images import base_image, registry_image
from accelform.images.builders import Builder
from accelform.images.model_files import layer_files
from accelform.sources import open_source, read_source
from accelform.store import Store, versions
from benchmarks.goals import at_least
from benchmarks.measure import ratio, summarise, timed
from benchmarks.peer_tools.environment import PeersUnavailable

ROUNDS = 7
GOAL = 10.0
OWNER = "bench/bench/image"
SPECIFICATION = "featurizer: resnet50\nweights: {source: seeded, seed: 7}\nclassifier: {classes: 10, seed: 0}\n"
CHANGED_FILES = ("model.onnx", "head.onnx")
"""Of a bundle, what another classifier changes beside its description; their last bytes are the round's number."""
SIDES = OURS, WARM, FRESH = ("accelform", "buildah_warm", "buildah_fresh")


def run(rounds: int = ROUNDS) -> dict[str, Any]:
    """Seconds and bytes per side, their ratios, the goals. Raises PeersUnavailable without buildah or a registry."""
    for program in ("buildah", registries.PROGRAM):
        if shutil.which(program) is None:
            raise PeersUnavailable(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary)
        with registries.registry(folder / "registry") as registry, registries.wire(registry.port) as wire:
            bench = _Bench.prepare(folder, registry.host)
            try:
                seconds = bench.timed(registry.host, rounds)
                sizes = {side: bench.counted(side, wire) for side in SIDES}
            finally:
                bench.close()
        model_bytes = sum(path.stat().st_size for path in bench.bundle.values())
    return {
        "model_bytes": model_bytes,
        "rounds": rounds,
        "seconds": {side: summarise(values).as_dict() for side, values in seconds.items()},
        "bytes": sizes,
        "times_faster": {side: ratio(seconds[side], seconds[OURS]) for side in (WARM, FRESH)},
        "goals": _goals(seconds, sizes),
    }


def _goals(seconds: dict[str, list[float]], sizes: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    ours, moved = statistics.median(seconds[OURS]), {side: sum(both.values()) for side, both in sizes.items()}
    return [
        goal
        for side in (FRESH, WARM)
        for goal in (
            at_least(f"times faster than {side}", statistics.median(seconds[side]) / ours, GOAL),
            at_least(f"times fewer bytes than {side}", moved[side] / moved[OURS], GOAL),
        )
    ]


@dataclass(kw_only=True)
class _Bench:
    folder: Path
    bundle: dict[str, Path]
    base: str
    """Name and digest of the base image, without the host."""
    store: Store
    number: int = 0
    digests: dict[Path, str] = field(default_factory=dict)

    @classmethod
    def prepare(cls, folder: Path, host: str) -> _Bench:
        """Converts the model and builds the base with buildah, which compresses it as buildah likes it."""
        specification = folder / "model.yaml"
        specification.write_text(SPECIFICATION)
        bundle = convert(
            open_source(read_source(specification)),
            output_dir=folder / "bundle",
            name="benchmark",
            version="1",
            number_format="bw-a10-cnn",
        ).files
        bench = cls(folder=folder, bundle=dict(bundle), base="", store=Store.open(str(folder / "store")))
        builder = Builder(program="buildah", options=bench.options)
        built = base_image.build(str(rootfs() / "rootfs.tar"), target=f"{host}/bench/base", builder=builder)
        bench.base = built.reference.partition("/")[2]
        bench.ours(host)  # the featurizer is there, as after the first deployment of a service
        bench.buildah(host)
        return bench

    @property
    def options(self) -> tuple[str, ...]:
        """buildah's storage, in the benchmark's own folder."""
        storage = self.folder / "containers"
        return ("--storage-driver=overlay", f"--root={storage / 'root'}", f"--runroot={storage / 'run'}")

    def close(self) -> None:
        """Removes what buildah has, and with it what it mounted."""
        self._forget()

    def timed(self, host: str, rounds: int) -> dict[str, list[float]]:
        """Seconds per side in turning order; emptying the fresh side's image store is outside its clock."""
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else reversed(SIDES):
                if side == FRESH:
                    self._forget()  # its build pulls the base again, where the warm side then finds it
                call = self.ours if side == OURS else self.buildah
                seconds[side].append(timed(partial(call, host)))
        return seconds

    def counted(self, side: str, wire: registries.Wire) -> dict[str, int]:
        """Bytes to and from the registry for one more classifier."""
        if side != OURS:
            self._forget()
        if side == WARM:
            self._buildah("pull", "--tls-verify=false", f"{wire.host}/{self.base}")
        sent, received = wire.sent_bytes, wire.received_bytes
        (self.ours if side == OURS else self.buildah)(wire.host)
        return {"sent": wire.sent_bytes - sent, "received": wire.received_bytes - received}

    def ours(self, host: str) -> None:
        """What the Image resource does when it is created."""
        files = self._another_classifier()
        content = f"sha256:{self.number:064x}"
        number = versions.allocate(self.store, "images", "digits", owner=OWNER, digest=content).version
        wanted = registry_image.Wanted(
            registry=f"{host}/bench",
            base_image=f"{host}/{self.base}",
            ca_file="",
            name="digits",
            version=number,
            owner=OWNER,
            model=f"digits:{number}",
            model_digest=content,
            model_files=layer_files(files, digests={name: self._digest(path) for name, path in files.items()}),
        )
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            registry_image.publish(self.store, wanted, scratch=Path(scratch))

    def buildah(self, host: str) -> None:
        """The same image by a Containerfile of two lines."""
        context = self.folder / "context"
        (context / "model").mkdir(parents=True, exist_ok=True)
        for name, path in self._another_classifier().items():
            shutil.copyfile(path, context / "model" / name)
        (context / "Containerfile").write_text(f"FROM {host}/{self.base}\nCOPY model /model\n")
        image = f"{host}/bench/buildah:{self.number}"
        tls = "--tls-verify=false"
        self._buildah("build", "--timestamp=0", tls, "-t", image, "-f", str(context / "Containerfile"), str(context))
        self._buildah("push", tls, image)

    def _another_classifier(self) -> dict[str, Path]:
        self.number += 1
        changed = self.folder / "changed"
        changed.mkdir(exist_ok=True)
        files = dict(self.bundle)
        for name in CHANGED_FILES:
            content = bytearray(self.bundle[name].read_bytes())
            content[-16:] = self.number.to_bytes(16, "little")
            files[name] = changed / name
            files[name].write_bytes(content)
        return files

    def _digest(self, path: Path) -> str:
        """What the store's manifest says of a file; of those that stay, looked up and not computed anew."""
        if path not in self.digests:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if path.parent != self.folder / "bundle":
                return digest
            self.digests[path] = digest
        return self.digests[path]

    def _forget(self) -> None:
        self._buildah("rmi", "--all", "--force")

    def _buildah(self, *arguments: str) -> None:
        subprocess.run(["buildah", *self.options, *arguments], check=True, capture_output=True, timeout=600)
