"""A cluster of tools/cluster for one benchmark, which ends with it, whatever happens to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.cluster.layout import Layout
from tools.cluster.lifecycle import start, stop
from tools.cluster.rootfs import rootfs
from tools.toolchain.toolsets import KUBERNETES, ensure

from accelform.images import base_image


@contextmanager
def running(*, nodes: int) -> Iterator[Layout]:
    """A cluster of `nodes` real nodes in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        folder = Path(temporary) / "cluster"
        try:
            yield start(folder, node_count=nodes, bin_folder=ensure(KUBERNETES), owner=os.getpid())
        finally:
            stop(folder)


def base_image_of(cluster: Layout) -> str:
    """The runtime on a small Debian, put into the cluster's registry; its reference by digest."""
    return base_image.build(str(rootfs() / "rootfs.tar"), target=f"{cluster.registry}/runtime", builder=None).reference
