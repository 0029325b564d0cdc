"""accelform sweep MODEL --images PATH: one model in several number formats, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.cli import calibration
from accelform.cli.arguments import several, whole
from accelform.cli.printing import say, table

if TYPE_CHECKING:
    from accelform.report.sweep import SweepRow
    from accelform_runtime.numerics.format import NumberFormat


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    calibration.add_model(parser)
    parser.add_argument(
        "--formats", type=several(str), metavar="A,B,C", help="number formats to compare (default: every quantised one)"
    )
    parser.add_argument(
        "--mantissa-bits",
        type=several(whole()),
        default=(),
        metavar="M,M",
        help="also turn this knob, in every combination",
    )
    parser.add_argument("--block-size", type=several(whole()), default=(), metavar="N,N", help="also turn this knob")
    parser.add_argument("--rounding", type=several(str), default=(), metavar="A,B", help="also turn this knob")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    calibration.add_images(parser, required=True)


def run(args: argparse.Namespace) -> int:
    """Measures every format and prints a row each. Returns 0."""
    from accelform.report.sweep import sweep, variants

    formats = variants(
        chosen(args.formats),
        mantissa_bits=args.mantissa_bits,
        block_sizes=args.block_size,
        roundings=args.rounding,
    )
    _, split, samples = calibration.opened(args, args.json)
    say(f"{len(formats)} number format(s), {len(samples)} image(s)")
    rows = sweep(split, samples, formats, settings=calibration.settings_of(args, layers=False), progress=say)
    if args.json:
        calibration.write_json(args.json, {"schema": 1, "formats": [row.as_dict() for row in rows]})
    print(sweep_table(rows))
    return 0


def chosen(names: tuple[str, ...] | None) -> list[NumberFormat]:
    """The formats of those names; without names every one that quantises, narrowest first.

    Raises:
        UnknownNumberFormat: there is none of a name.
    """
    from accelform.conversion.converter import number_format_of
    from accelform_runtime.numerics.format import profile_names

    if names is not None:
        return [number_format_of(name) for name in names]
    formats = [number_format_of(name) for name in profile_names()]
    return sorted((fmt for fmt in formats if fmt.quantised), key=lambda fmt: (fmt.bits_per_value, fmt.name))


def sweep_table(rows: tuple[SweepRow, ...]) -> str:
    """Columns that the model has: a classifier's agreement, a detector's, or the features alone."""
    head = ["number format", "bits/weight"]
    first = rows[0].fidelity
    head += ["top-1", "top-5", "distance"] if first.agreement else []
    head += ["detections"] if first.detections else []
    head += ["SQNR", "cosine", "FPGA ms", "between", "weights MB"]
    return table(head, [_cells(row) for row in rows])


def _cells(row: SweepRow) -> list[str]:
    from accelform.report import text_db

    found, estimate = row.fidelity, row.estimate
    cells = [row.number_format.name, f"{row.number_format.bits_per_value:.2f}"]
    if (agreement := found.agreement) is not None:
        cells += [f"{agreement.top1:.1%}", f"{agreement.top5:.1%}", f"{agreement.score_distance:.4f}"]
    if found.detections is not None:
        cells.append(f"{found.detections.agreement:.1%}")
    worst = min(found.features, key=lambda tensor: tensor.sqnr_db)
    return [
        *cells,
        text_db(worst.sqnr_db),
        f"{worst.cosine:.4f}",
        f"{estimate.latency_ms:.3f}",
        f"{estimate.latency_low_ms:.3f}-{estimate.latency_high_ms:.3f}",
        f"{estimate.weight_bytes / 1e6:.1f}",
    ]
