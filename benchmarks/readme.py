"""README.md's table of numbers, written from benchmarks/results/ so that none is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelform.featurizers.families import FAMILIES
from benchmarks import readme_cluster, readme_serving
from benchmarks.readme_rows import seconds

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
BEGIN, END = "<!-- numbers: written by make bench -->\n", "<!-- end of numbers -->\n"


def update() -> None:
    """Writes the table into README.md, between its two marks."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(before + BEGIN + render() + END + after, encoding="utf-8")


def render() -> str:
    """The table and the machine it was measured on, as Markdown."""
    lifecycle, numerics, accuracy = _result("lifecycle"), _result("numerics"), _result("accuracy")
    machine = json.loads((RESULTS / "lifecycle.json").read_text(encoding="utf-8"))["machine"]
    families = _result("families")
    titles = {key: value for key, value in families.items() if isinstance(value, dict)}
    rows = [
        ("`pulumi preview` of a new stack", seconds(lifecycle["preview_of_a_new_stack"])),
        ("`pulumi up` of a new stack, until it serves", seconds(lifecycle["up_of_a_new_stack"])),
        ("`pulumi up` with nothing to do", seconds(lifecycle["up_with_nothing_to_do"])),
        ("`pulumi up` with another classifier", seconds(lifecycle["up_with_another_classifier"])),
        ("`pulumi destroy`", seconds(lifecycle["destroy"])),
        ("building the image, runtime layer at hand", _milliseconds(lifecycle["image_build"])),
        *readme_serving.rows(_measured),
        *readme_cluster.rows(_measured),
        ("ResNet-50 in block floating point over float32, exact integer engine", _ratio(numerics, "native")),
        ("… standard operators in onnxruntime", _ratio(numerics, "bw-a10-cnn")),
        *(
            (
                f"converting {FAMILIES[name].title}: time, peak memory",
                f"{seconds(row['conversion'])}, {row['peak_memory_gb']:.1f} GB",
            )
            for name, row in titles.items()
        ),
        ("the longest forecast", f"{max(row['forecast']['median_ms'] for row in titles.values()):.0f} ms"),
        (
            f"right on {accuracy['images']} held-out digits: float32, FPGA format",
            f"{accuracy['float32_percent']} %, {accuracy['bw-a10-cnn_percent']} %",
        ),
    ]
    body = "".join(f"| {label} | {value} |\n" for label, value in rows)
    return (
        f"Medians on {machine['cores']} cores ({_processors()}), {machine['memory_gib']:.0f} GiB, "
        f"onnxruntime {machine['packages']['onnxruntime']}; `make bench` measures them on yours.\n\n"
        f"| What | Measured |\n| --- | --- |\n{body}"
    )


def _processors() -> str:
    """The processor, or each with what was measured on it where results are from several machines."""
    found: dict[str, list[str]] = {}
    for path in sorted(RESULTS.glob("*.json")):
        processor = json.loads(path.read_text(encoding="utf-8"))["machine"]["processor"]
        found.setdefault(processor, []).append(path.stem)
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{processor}: {', '.join(names)}" for processor, names in found.items())


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))[name]
    return found


def _measured(name: str) -> dict[str, Any] | None:
    return _result(name) if (RESULTS / f"{name}.json").exists() else None


def _ratio(numerics: dict[str, Any], engine: str) -> str:
    """Against onnxruntime's float32 session, with the quartiles of interleaved pairs."""
    found = numerics.get(f"{engine}_over_float32")
    if found is None:
        return "not measured here"
    return f"{found['of_medians']:.2f} × ({found['lower_quartile']:.2f} to {found['upper_quartile']:.2f})"


def _milliseconds(summary: dict[str, float]) -> str:
    return f"{summary['median_ms']:.0f} ms"
