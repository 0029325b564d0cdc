"""accelform fidelity MODEL --images PATH: what a number format makes of a model, against its own float32 graph."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.cli import calibration
from accelform.cli.arguments import number
from accelform.cli.printing import say, table

if TYPE_CHECKING:
    from accelform.report import Fidelity


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    calibration.add_model(parser)
    parser.add_argument(
        "--number-format", default=calibration.DEFAULT_FORMAT, metavar="NAME",
        help=f"profile of the FPGA's part (default: {calibration.DEFAULT_FORMAT})",
    )  # fmt: skip
    parser.add_argument("--layers", action="store_true", help="print every layer, not only where it goes wrong")
    parser.add_argument("--limit-db", type=number(), metavar="DB", help="below it a layer has gone wrong (default: 6)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything as JSON")
    calibration.add_images(parser, required=True)


def run(args: argparse.Namespace) -> int:
    """Measures and prints. Returns 0; a format that does badly is a result, not a failure."""
    from accelform.conversion.converter import number_format_of
    from accelform.report import measure

    fmt = number_format_of(args.number_format)
    _, split, samples = calibration.opened(args, args.json)
    settings = calibration.settings_of(args, layers=True, limit_db=args.limit_db)
    found = measure(split, samples, fmt=fmt, settings=settings, progress=say)
    if args.json:
        calibration.write_json(args.json, found.as_dict())
    print(summary(found, split.labels))
    if args.layers:
        print("\n" + layer_table(found))
    return 0


def summary(found: Fidelity, labels: tuple[str, ...]) -> str:
    """A line per finding."""
    from accelform.report import text_db

    lines = [f"{found.number_format} against float32, {found.images} image(s)"]
    if (agreement := found.agreement) is not None:
        lines.append(f"  top-1 agreement  {agreement.top1:.1%}")
        lines.append(f"  top-5 agreement  {agreement.top5:.1%}")
        lines.append(f"  score distance   {agreement.score_distance:.4f}" + (", after softmax" * agreement.softmax))
        if agreement.labelled:
            lines.append(
                f"  right            {agreement.correct_format} of {agreement.labelled} "
                f"(float32: {agreement.correct_float32})"
            )
    if (seen := found.detections) is not None:
        lines.append(
            f"  detections       {seen.agreement:.1%} agree: {seen.same} the same, "
            f"{seen.seen_float32} in float32, {seen.seen_format} in {found.number_format}"
        )
    if seen is not None and (seen.objects_float32 or seen.objects_format):
        lines.append(
            f"  objects          {seen.object_agreement:.1%} agree: {seen.matched} in both, "
            f"{seen.objects_float32} in float32, {seen.objects_format} in {found.number_format}"
        )
    leaving = {row.tensor: row for row in (*found.features, *found.outputs)}
    for row in leaving.values():
        lines.append(
            f"  {row.tensor}: {text_db(row.sqnr_db)}, cosine {row.cosine:.5f}, largest {row.largest_difference:.4g}"
        )
    layers = {row.name: row for row in found.layers}
    if found.first_wrong is None:
        lines.append(f"  no layer falls below {found.limit_db:g} dB")
    else:
        lines.append(f"  first wrong      {found.first_wrong}, {text_db(layers[found.first_wrong].sqnr_db)}")
    if found.noisiest is not None:
        lines.append(f"  noisiest layer   {found.noisiest}, adds {layers[found.noisiest].added_noise:.2%} noise")
    for change in agreement.disagreements if agreement else ():
        ours, theirs = _label(labels, change.float32_class), _label(labels, change.format_class)
        lines.append(f"  {change.image}: {ours} becomes {theirs}")
    return "\n".join(lines)


def layer_table(found: Fidelity) -> str:
    """In execution order."""
    from accelform.report import text_db

    rows = [
        [row.name, text_db(row.sqnr_db), text_db(row.worst_db), "" if row.drop_db is None else f"{row.drop_db:+.1f}"]
        for row in found.layers
    ]
    return table(["layer", "SQNR", "worst image", "loss dB"], rows)


def _label(labels: tuple[str, ...], index: int) -> str:
    if index < 0:
        return "nothing: its scores are not finite"
    return labels[index] if index < len(labels) else f"class {index}"
