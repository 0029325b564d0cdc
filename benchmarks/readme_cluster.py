"""README.md's rows about Kubernetes; a row whose benchmark has not been run here is left out."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.readme_rows import Found, Makers, Row, collect, seconds


def rows(result: Callable[[str], Found | None]) -> list[Row]:
    """The rows for the results that there are; `result` gives one by its benchmark's name, or None."""
    makers: Makers = {
        "in_cluster": _in_cluster,
        "image_push": _image_push,
        "scale": _scale,
    }
    return collect(makers, result)


def _in_cluster(found: Found) -> list[Row]:
    commands = ("preview_of_a_new_stack", "up_of_a_new_stack", "up_with_nothing_to_do", "destroy")
    told = ", ".join(seconds(found[name]) for name in commands)
    over = f"{found['rollout_over_kubectl']['of_medians']:.2f} ×, {found['calls_during_rollouts']['failed']}"
    return [
        ("on a cluster: preview, `up` until 2 replicas serve, `up` with nothing to do, destroy", told),
        ("… another classifier rolled out under calls", seconds(found["up_with_another_classifier"])),
        ("… over kubectl's rollout of the same pods, failed calls", over),
    ]


def _image_push(found: Found) -> list[Row]:
    ours = found["seconds"]["accelform"]["median_ms"]
    moved = {side: sum(both.values()) for side, both in found["bytes"].items()}
    rows = [("another classifier into the registry", f"{ours:.0f} ms, {moved['accelform'] / 1e6:.2f} MB")]
    for side, where in (("buildah_fresh", "without the base image"), ("buildah_warm", "with the base image")):
        faster = found["times_faster"][side]["of_medians"]
        fewer = moved[side] / moved["accelform"]
        rows.append((f"… buildah on a machine {where}: time, bytes", f"{faster:.{int(faster < 20)}f} ×, {fewer:.0f} ×"))
    return rows


def _scale(found: Found) -> list[Row]:
    most = max(found["rows"], key=lambda row: (row["services"], row["fpgas"]))
    commands = ("preview_of_a_new_stack", "up_of_a_new_stack", "preview_with_nothing_to_do", "up_with_nothing_to_do")
    told = ", ".join(f"{most[name]['seconds']:.0f} s" for name in commands)
    peak = max(most[name]["peak_mib"] for name in commands)
    what = f"{most['services']} services, {most['fpgas']} simulated FPGAs: preview, `up`, the same with nothing to do"
    return [(f"{what}, peak memory", f"{told}, {peak:.0f} MiB")]
