"""Arguments and steps that `fidelity`, `sweep` and `report` share: the model, the images, how they are fed."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.errors import CalibrationUnusable

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.report.fidelity import Settings
    from accelform.report.samples import Sample
    from accelform.sources.model import ModelSource

DEFAULT_FORMAT: Final = "bw-a10-cnn"
DEFAULT_IMAGES: Final = 100


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model's argument."""
    parser.add_argument("model", type=Path, help="model file, folder or featurizer specification")


def add_images(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Which images, and how a model without preprocessing of its own gets them."""
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], required=required, metavar="PATH",
        help="folders or files: PNG, JPEG, GIF, BMP, or .npy and .npz of what the model reads; folders called after "
        "labels tell the right class",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=_positive, default=DEFAULT_IMAGES, metavar="N",
        help=f"most images to use, taken at even distances (default: {DEFAULT_IMAGES})",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=_positive, default=0, metavar="N", help="threads of each graph (default: one per core)"
    )
    group = parser.add_argument_group("pictures for a model without preprocessing of its own")
    group.add_argument("--order", choices=("RGB", "BGR"), default="RGB", help="order of channels (default: RGB)")
    group.add_argument(
        "--range", choices=("means", "unit", "signed", "bytes"), default="means", dest="scale",
        help="means: ImageNet's taken off; unit: 0 to 1; signed: -1 to 1; bytes: 0 to 255 (default: means)",
    )  # fmt: skip
    group.add_argument("--factor", type=float, default=1.0, metavar="F", help="multiplies at last (default: 1)")


def settings_of(args: argparse.Namespace, *, layers: bool, limit_db: float | None = None) -> Settings:
    """How to measure, as the arguments say."""
    from accelform.report.feeding import Pixels
    from accelform.report.fidelity import LIMIT_DB, Settings

    return Settings(
        layers=layers,
        limit_db=LIMIT_DB if limit_db is None else limit_db,
        pixels=Pixels(order=args.order, scale=args.scale, factor=args.factor),
        threads=args.threads,
    )


def opened(args: argparse.Namespace) -> tuple[ModelSource, SplitModel]:
    """The model with its arrays."""
    from accelform.sources import open_source, read_source

    source = read_source(args.model)
    say(f"{args.model}: {source.family or 'no known family'}, {source.digest[:19]}")
    return source, open_source(source, say)


def samples_of(args: argparse.Namespace, split: SplitModel) -> tuple[Sample, ...]:
    """The images that were named; none where none was.

    Raises:
        CalibrationUnusable: one is not there, or a folder has none.
    """
    from accelform.report.samples import find_samples

    return find_samples(args.images, labels=split.labels, limit=args.limit) if args.images else ()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Raises CalibrationUnusable where it can't be written."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Raises CalibrationUnusable where it can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise CalibrationUnusable(f"{path} can't be written: {error.strerror}. Name another file.") from error


def table(head: list[str], rows: list[list[str]]) -> str:
    """Columns side by side: the first to the left, figures to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(f"{cell:<{width}}" if index == 0 else f"{cell:>{width}}" for index, (cell, width) in parts).rstrip()
        for parts in (list(enumerate(zip(row, widths, strict=True))) for row in (head, *rows))
    ]
    return "\n".join(lines)


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
