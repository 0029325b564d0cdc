"""accelform report MODEL --output FILE: the page that a conversion writes, without deploying anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelform.cli import calibration
from accelform.cli.printing import say


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    calibration.add_model(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="HTML file to write")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the page's data")
    parser.add_argument("--name", help="heading of the page (default: the model's file name)")
    parser.add_argument(
        "--number-format", default=calibration.DEFAULT_FORMAT, metavar="NAME",
        help=f"profile of the FPGA's part (default: {calibration.DEFAULT_FORMAT})",
    )  # fmt: skip
    calibration.add_images(parser, required=False)


def run(args: argparse.Namespace) -> int:
    """Writes the page. Returns 0."""
    from accelform.conversion.converter import number_format_of
    from accelform.featurizers.forecast import forecast
    from accelform.report import make_report, measure
    from accelform.report.page import render

    fmt = number_format_of(args.number_format)
    source, split, samples = calibration.opened(args, args.output, args.json)
    settings = calibration.settings_of(args, layers=True)
    report = make_report(
        name=args.name or args.model.resolve().name,
        version="",
        source={
            "path": str(args.model),
            "kind": source.kind,
            "framework": source.framework,
            "digest": source.digest,
        },
        split=split,
        fmt=fmt,
        estimate=forecast(split.network, number_format=fmt.name),
        fidelity=measure(split, samples, fmt=fmt, settings=settings, progress=say) if samples else None,
        links={"The page's data": args.json.name} if args.json and args.json.parent == args.output.parent else {},
    )
    calibration.write_text(args.output, render(report))
    if args.json:
        calibration.write_json(args.json, report.as_dict())
    print(f"wrote {args.output}")
    return 0
