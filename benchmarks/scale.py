"""Many services in a large pool: time and memory of the commands, on a real API server with simulated machines."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.cluster import simulated
from tools.cluster.layout import CONTEXT, Layout

from benchmarks import own_cluster
from benchmarks.goals import at_most
from benchmarks.growth import later_over_earlier, line
from benchmarks.stacks import Run, Stack

SERVICES = (1, 10, 50, 100)
POOLS = (10, 100, 500)
PROGRAM = Path(__file__).parent / "programs" / "many_services.py"
COMMANDS = {
    "preview_of_a_new_stack": ("preview",),
    "up_of_a_new_stack": ("up", "--yes", "--skip-preview"),
    "preview_with_nothing_to_do": ("preview", "--expect-no-changes"),
    "up_with_nothing_to_do": ("up", "--yes", "--skip-preview", "--expect-no-changes"),
    "destroy": ("destroy", "--yes", "--skip-preview"),
}
PREVIEW_GOAL_SECONDS = 20.0
SLOPE_GOAL = 1.1


def run(services: Sequence[int] = SERVICES, pools: Sequence[int] = POOLS) -> dict[str, Any]:
    """Each command for each number of services in the largest pool, and for each pool with the fewest services."""
    rows = []
    with own_cluster.running(nodes=1) as cluster, tempfile.TemporaryDirectory(prefix="accelform-bench-") as temporary:
        base = own_cluster.base_image_of(cluster)
        for pool in pools:
            simulated.add(cluster, pool)
            for count in services if pool == pools[-1] else services[:1]:
                rows.append(_one(cluster, base, Path(temporary) / f"{pool}-{count}", services=count, pool=pool))
    return {"rows": rows, "goals": _goals(rows)}


def _goals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Goals for what was measured: a slope needs three numbers of services in one pool."""
    largest = max(row["fpgas"] for row in rows)
    by_services = {row["services"]: row for row in rows if row["fpgas"] == largest}
    most = max(by_services)
    preview = by_services[most]["preview_of_a_new_stack"]["seconds"]
    goals = [at_most(f"seconds of a preview of {most} services", preview, PREVIEW_GOAL_SECONDS)]
    if len(by_services) < 3:
        return goals
    for name in COMMANDS:
        costs = {count: row[name]["seconds"] for count, row in by_services.items()}
        fixed, each = line(costs)
        what = f"{name}: later over earlier services ({fixed:.1f} s + {each:.2f} s each)"
        goals.append(at_most(what, later_over_earlier(costs), SLOPE_GOAL))
    return goals


def _one(cluster: Layout, base: str, folder: Path, *, services: int, pool: int) -> dict[str, Any]:
    stack = Stack.create(folder, "scale", _settings(cluster, base, services, pool), program=PROGRAM)
    row: dict[str, Any] = {"services": services, "fpgas": pool}
    try:
        for name, arguments in COMMANDS.items():
            row[name] = _told(name, row, stack.pulumi(*arguments))
    except BaseException:
        stack.pulumi("destroy", "--yes", "--skip-preview")
        raise
    return row


def _told(name: str, row: dict[str, Any], run_: Run) -> dict[str, float]:
    where = f"{row['services']} services, {row['fpgas']} FPGAs"
    print(f"  {where}: {name} {run_.seconds:.1f} s, {run_.peak_mib:.0f} MiB", flush=True)
    return {"seconds": round(run_.seconds, 2), "peak_mib": round(run_.peak_mib)}


def _settings(cluster: Layout, base: str, services: int, pool: int) -> dict[str, Any]:
    return {
        "services": services,
        "target": "kubernetes",
        "location": "westus2",
        "target_name": "westus2",
        "kubeconfig": str(cluster.kubeconfig),
        "kube_context": CONTEXT,
        "agent_count": pool,
        "quota_vcpus": pool * simulated.VCPUS,
        "device_plugin": "external",
        "load_balancer_type": "ClusterIP",
        "calibration_images": "",
        "registry": cluster.registry,
        "base_image": base,
    }
