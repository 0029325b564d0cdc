"""Disk full while writing: a clear error, nothing half-made visible, and all is well once there is space."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILL = """
import resource, sys
from pathlib import Path
from accelform.errors import StoreFull
from accelform.images import oci
from accelform.images.archive import LayerFile, tar_stream
from accelform.images.runtime_layer import LayerRef
from accelform.store import Store, versions

tight, roomy, limit_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
small, large = roomy / "small", roomy / "large"
small.write_bytes(b"s")
large.write_bytes(bytes(30_000_000))
owner = dict(owner="shop/edge/x", digest="sha256:1")

def build(store, version, weights):
    tar = tar_stream([LayerFile(name="opt/accelform/s", source=small)])
    layer = store.put_stream("layers/runtime/layer.tar", tar)
    runtime = LayerRef(
        key="layers/runtime/layer.tar", digest=f"sha256:{layer.sha256}", size_bytes=layer.size_bytes,
        fingerprint="", description="small",
    )
    return oci.build_image(
        store, name="digits", version=version, model_files={"weights": weights}, runtime_layer=runtime
    )

def refused(action):
    before = files_in_tight()
    try:
        action()
    except StoreFull as error:
        assert "no space left" in str(error) and "Free some space" in str(error) and len(str(error)) < 600, error
    else:
        raise SystemExit("there was space enough")
    assert not any("#" in name or ".partial" in name for name in files_in_tight()), files_in_tight()
    return files_in_tight() - before

def files_in_tight():
    return {str(path.relative_to(tight)) for path in tight.rglob("*") if path.is_file()}

elsewhere = Store.open(str(roomy / "store"))
big_image = build(elsewhere, 1, large)
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
if limit_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, unlimited[1]))

store = Store.open(str(tight / "store"))
assert versions.allocate(store, "models", "digits", **owner).version == 1
publish = lambda weights: versions.publish(
    store, "models", "digits", 1, files={"weights": weights}, properties={}, **owner
)
assert refused(lambda: publish(large)) == set()
assert refused(lambda: store.put_new("models/large", large)) == set()
assert versions.adopt(store, "models", "digits", **owner) is None

number = versions.allocate(store, "images", "digits", **owner).version
refused(lambda: build(store, number, large))
assert versions.adopt(store, "images", "digits", **owner) is None
assert "images/digits/1/index.json" not in store.list("")

assert refused(lambda: oci.unpack(elsewhere, big_image.location, tight / "box" / "digits")) == set()
assert not any((tight / "box").iterdir())

if limit_bytes:
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
image = build(store, number, small)
assert oci.unpack(store, image.location, tight / "box" / "digits").digest == image.digest
assert versions.allocate(store, "models", "digits", **owner) == versions.Allocation(version=1, resumed=True)
assert versions.verify(store, publish(small), content=True) == []
print("proved")
"""

ACROSS = """
import sys
from pathlib import Path
from accelform.store import Store

root = Path(sys.argv[1])
store = Store.open(str(root.parent))
store.put("layers/a", b"layer" * 500_000)
store.copy("layers/a", f"{root.name}/b")
store.copy("layers/a", f"{root.name}/b")
assert root.stat().st_dev != root.parent.stat().st_dev
assert store.get(f"{root.name}/b") == store.get("layers/a")
assert [path.name for path in root.iterdir()] == ["b"]
print("proved")
"""


def namespace() -> list[str]:
    """The command prefix that gives a private mount table, as root or through a user namespace; [] without one."""
    for prefix in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if (
            shutil.which("unshare")
            and subprocess.run(
                [*prefix, "mount", "-t", "tmpfs", "none", "/mnt"], check=False, capture_output=True, timeout=30
            ).returncode
            == 0
        ):
            return prefix
    return []


def run_on_small_disk(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs the code with an 8 MB file system mounted at ``folder``, seen by that process only."""
    prefix = namespace()
    if not prefix:
        pytest.skip("no mount namespace for this user: the size limit's test shows the same path")
    script = 'mount -t tmpfs -o size=8m none "$1" && shift && exec "$@"'
    command = [*prefix, "sh", "-c", script, "sh", str(folder), sys.executable, "-c", code, str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ))


def test_a_full_file_system(tmp_path: Path) -> None:
    """On a file system of 8 MB every write that does not fit fails with StoreFull, and the small ones then succeed."""
    tight, roomy = tmp_path / "tight", tmp_path / "roomy"
    tight.mkdir()
    roomy.mkdir()

    finished = run_on_small_disk(tight, FILL, str(roomy), "0")

    assert finished.stdout == "proved\n", finished.stderr
    assert list(tight.iterdir()) == [], "the small disk was this process's alone"


def test_a_size_limit(tmp_path: Path) -> None:
    """A limit on file sizes (which needs no rights to set) is reported and survived in the same way."""
    tight, roomy = tmp_path / "tight", tmp_path / "roomy"
    tight.mkdir()
    roomy.mkdir()
    command = [sys.executable, "-c", FILL, str(tight), str(roomy), str(1 << 20)]

    finished = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert finished.stdout == "proved\n", finished.stderr


def test_copies_across_file_systems(tmp_path: Path) -> None:
    """Where hard links cannot be made, a copy moves the bytes."""
    folder = tmp_path / "images"
    folder.mkdir()

    finished = run_on_small_disk(folder, ACROSS)

    assert finished.stdout == "proved\n", finished.stderr
