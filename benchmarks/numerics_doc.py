"""The measured tables of docs/numerics.md, written from benchmarks/results/ so that none is typed by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "numerics.md"
RESULTS = ROOT / "benchmarks" / "results"

WHY = {
    "zero": "negative values that round to zero stay −0; ours are +0",
    "subnormal": "our smallest step is 2⁻¹²⁶, a normal float32 number, so blocks of subnormals become zeros; the tool "
    "goes on with smaller steps",
    "subnormal-qtorch": "a block of subnormals has exponent field zero: the tool rounds each value's own digits",
    "ties-up": "halves are rounded towards +∞, because they are rounded after a large positive number was added",
    "twice": "that addition rounds in float32 before the digits are cut: a value within 2⁻²² of a half counts as one",
    "overflow": "in the last binade the tool's helper values overflow",
    "threshold": "the largest value's power of two is taken for the end of the range, so that everything above it "
    "saturates, with a step of half our size",
    "power": "a block whose largest value is a power of two saturates at it",
    "minus": "mantissas are two's complement: there is one more, −2ᵐ, on the negative side",
    "carry": "the block's exponent is raised only where a positive value overflows; −2ᵐ stays",
    "log": "the exponent comes from a logarithm in float32, which is one too high just below a power of two",
    "not-finite": "ours refuses the tensor, naming the place",
}
REASONS: dict[str, dict[str, tuple[str, ...]]] = {
    "quark-even": {"negative-zeros": ("zero",), "subnormal": ("subnormal",)},
    "quark-away": {
        **dict.fromkeys(("normal", "spread", "power", "negative", "short", "negative-zeros", "largest"), ("zero",)),
        "subnormal": ("subnormal", "zero"),
    },
    "qtorch": {
        "ties": ("ties-up",),
        "below-power": ("twice",),
        "short": ("twice",),
        "subnormal": ("subnormal-qtorch",),
        "largest": ("overflow",),
    },
    "brevitas": {
        **dict.fromkeys(("relu", "below-power"), ("threshold",)),
        **dict.fromkeys(("normal", "spread", "power", "negative", "short", "largest"), ("threshold", "minus", "zero")),
        "ties": ("threshold",),
        "negative-zeros": ("threshold", "zero"),
        "subnormal": ("zero",),
    },
    "brevitas-ceil": {
        "normal": ("zero",),
        "spread": ("minus", "zero"),
        "ties": ("power",),
        "power": ("power", "zero"),
        "negative": ("minus", "zero"),
        "short": ("minus", "zero"),
        "negative-zeros": ("power", "zero"),
        "subnormal": ("zero",),
        "largest": ("overflow",),
    },
    "quark-mxint8": {
        "negative": ("minus",),
        "short": ("minus",),
        "negative-zeros": ("zero",),
        "subnormal": ("subnormal",),
    },
    "quark-bfp16": {
        **dict.fromkeys(("normal", "spread", "short", "negative"), ("carry",)),
        "negative": ("log", "carry"),
        "below-power": ("log",),
    },
}
"""Column -> case -> why values differ there; a test holds these to the measured table."""

SHOWN_MS = 0.1
"""Operators below it are left out of the table of operators."""

LABELS = {
    "float32-onnxruntime": "float32, onnxruntime",
    "bfp-onnxruntime": "Accelform, onnxruntime",
    "bfp-native": "Accelform, native",
    "torch": "torch without rounding",
    "qtorch": "qtorch",
    "brevitas": "brevitas",
    "amd-quark": "amd-quark, in torch",
    "amd-quark/onnxruntime": "amd-quark, in onnxruntime",
}


def update() -> None:
    """Writes every table whose results are there."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, render in (("conformance", conformance), ("peers", peers), ("where", where)):
        if (RESULTS / f"{name}.json").exists():
            text = replaced(text, name, render())
    DOCUMENT.write_text(text, encoding="utf-8")


def replaced(text: str, name: str, table: str) -> str:
    """`text` with `table` between the marks of that name."""
    begin, end = f"<!-- {name}: written by make bench -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return before + begin + table + end + after


def conformance() -> str:
    """One row a case, one column a quantiser; then what the letters mean."""
    found = _result("conformance")
    columns = [column for column in found["columns"] if "cases" in column]
    letters: dict[str, str] = {}
    rows = []
    for case, what in found["cases"].items():
        cells = [_cell(column, case, letters) for column in columns]
        rows.append(f"| {what} | {' | '.join(cells)} |")
    heads = " | ".join(f"{index}" for index in range(1, len(columns) + 1))
    keys = "".join(f"{index}. {_head(column)}\n" for index, column in enumerate(columns, start=1))
    skipped = "".join(
        f"- {column['tool']}, {column['setting']}: not run, {column['skipped']}\n"
        for column in found["columns"]
        if "skipped" in column
    )
    notes = "".join(f"- *{letter}*: {WHY[key]}\n" for key, letter in letters.items())
    table = f"| Values | {heads} |\n| --- |{' --- |' * len(columns)}\n" + "\n".join(rows) + "\n"
    return f"{keys}{skipped}\n{table}\n{notes}"


def peers() -> str:
    """Milliseconds, and multiples of float32 onnxruntime in the same run."""
    found = _result("peers")
    rows = []
    for label, name in LABELS.items():
        if label not in found:
            continue
        row = found[label]
        over = found["over_float32"].get(label)
        times = f"{row['median_ms']:.0f} ms ({row['lower_quartile_ms']:.0f} to {row['upper_quartile_ms']:.0f})"
        ratios = (
            f"{over['of_medians']:.2f} ({over['lower_quartile']:.2f} to {over['upper_quartile']:.2f})" if over else "1"
        )
        version = found["versions"].get(label, "")
        rows.append(f"| {f'{name} {version}'.strip()} | {times} | {ratios} |")
    head = "| ResNet-50 | one image: median (quartiles) | over float32 onnxruntime |\n| --- | --- | --- |\n"
    best = ", ".join(
        f"{over['of_medians']:.1f} × {LABELS[label]}" for label, over in found["best_tool_over_ours"].items()
    )
    summary = f"\nThe fastest of the tools, {found['best_tool']}, takes {best}.\n" if best else ""
    if found.get("same_answer_with_their_quantiser"):
        summary += (
            "\nIn onnxruntime, amd-quark's operator, rounding halves to even, stands in our served graph where our "
            "quantiser was.\nThe whole model's answer is the definition's, bit for bit.\n"
        )
    skipped = "".join(f"\nNot run: {tool}: {reason}\n" for tool, reason in found["skipped"].items())
    return f"{head}{chr(10).join(rows)}\n{summary}{skipped}"


def _head(column: dict[str, Any]) -> str:
    knob = {"nearest-even": "", "nearest-away": ", ours rounding halves away from zero"}[column["rounding"]]
    carries = ", ours carrying" if column["overflow"] == "carry" else ""
    return (
        f"{column['tool']} {column['version']}, {column['setting']}: "
        f"{column['mantissa_bits']} bits, blocks of {column['block_size']}{knob}{carries}"
    )


def _cell(column: dict[str, Any], case: str, letters: dict[str, str]) -> str:
    row = column["cases"][case]
    if row.get("refused"):
        mark = _marks(("not-finite",), letters)
        return f"{row['finite_in_theirs']} of {row['values']} finite {mark}"
    if row["same_bits"] == row["values"]:
        return "all"
    marks = _marks(REASONS.get(column["key"], {}).get(case, ()), letters)
    if row["same_bits"] + row["same_but_sign_of_zero"] == row["values"]:
        return f"all but −0 {marks}"
    share = (row["same_bits"] + row["same_but_sign_of_zero"]) / row["values"]
    return f"{min(share, 0.9999):.2%} {marks}".replace("%", " %")


def _marks(reasons: tuple[str, ...], letters: dict[str, str]) -> str:
    for reason in reasons:
        letters.setdefault(reason, chr(ord("a") + len(letters)))
    return "".join(f"*{letters[reason]}*" for reason in reasons)


def where() -> str:
    """One row an operator that takes a tenth of a millisecond, in both number formats."""
    found = _result("where")
    float32, blocks = found["float32"], found["bw-a10-cnn"]
    names = sorted(set(float32) | set(blocks), key=lambda name: -blocks.get(name, 0.0))
    rows = [
        f"| `{name}` | {float32.get(name, 0.0):.1f} | {blocks.get(name, 0.0):.1f} |\n"
        for name in names
        if max(float32.get(name, 0.0), blocks.get(name, 0.0)) >= SHOWN_MS
    ]
    total = f"| all | {sum(float32.values()):.1f} | {sum(blocks.values()):.1f} |\n"
    return f"| Operator, ms in one image | float32 | bw-a10-cnn |\n| --- | --- | --- |\n{''.join(rows)}{total}"


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))[name]
    return found
