"""Arguments and steps that `fidelity`, `sweep` and `report` share: the model, the images, how they are fed."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.arguments import number, whole
from accelform.cli.printing import say
from accelform.errors import CalibrationUnusable, ModelSourceMissing, UserError

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.report import Sample, Settings
    from accelform.sources.model import ModelSource

DEFAULT_FORMAT: Final = "bw-a10-cnn"
DEFAULT_IMAGES: Final = 100


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model's argument; it may also stand behind the images."""
    parser.add_argument("model", type=Path, nargs="?", help="model file, folder or featurizer specification")


def add_images(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Which images, and how a model without preprocessing of its own gets them."""
    parser.add_argument(
        "--images", type=Path, nargs="+", action="extend", default=[], required=required, metavar="PATH",
        help="folders or files: PNG, JPEG, GIF, BMP, or .npy and .npz of what the model reads; folders called after "
        "labels tell the right class",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=whole(), default=DEFAULT_IMAGES, metavar="N",
        help=f"most images to use, taken at even distances (default: {DEFAULT_IMAGES})",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=whole(), default=0, metavar="N", help="threads of each graph (default: one per core)"
    )
    group = parser.add_argument_group("pictures for a model without preprocessing of its own")
    group.add_argument("--order", choices=("RGB", "BGR"), default="RGB", help="order of channels (default: RGB)")
    group.add_argument(
        "--range", choices=("means", "unit", "signed", "bytes"), default="means", dest="scale",
        help="means: ImageNet's taken off; unit: 0 to 1; signed: -1 to 1; bytes: 0 to 255 (default: means)",
    )  # fmt: skip
    group.add_argument("--factor", type=number(), default=1.0, metavar="F", help="multiplies at last (default: 1)")
    parser.set_defaults(refuse=parser.error)


def settings_of(args: argparse.Namespace, *, layers: bool, limit_db: float | None = None) -> Settings:
    """How to measure, as the arguments say."""
    from accelform.report import LIMIT_DB, Pixels, Settings

    return Settings(
        layers=layers,
        limit_db=LIMIT_DB if limit_db is None else limit_db,
        pixels=Pixels(order=args.order, scale=args.scale, factor=args.factor),
        threads=args.threads,
    )


def opened(args: argparse.Namespace, *outputs: Path | None) -> tuple[ModelSource, SplitModel, tuple[Sample, ...]]:
    """The model with its arrays, and the images that were named; none where none was.

    What is quickly known is looked at first, all of it: a model is read for up to minutes.

    Raises:
        CalibrationUnusable: images are not there, a folder has none, or `outputs` can't be written.
        ModelSourceMissing, NotAModel and the other errors of sources: there is no such model, or it can't be read.
    """
    from accelform.report import find_samples
    from accelform.sources import open_source, read_source

    _take_model_from_images(args)
    checks: list[Callable[[], object]] = [partial(_there, args.model)]
    checks += [partial(find_samples, [path]) for path in args.images]
    checks += [partial(_writable, path) for path in outputs if path is not None]
    problems = [error for check in checks if (error := _refused(check))]
    if len(problems) > 1:
        raise CalibrationUnusable("\n  ".join(["several things are wrong:", *map(str, problems)]))
    if problems:
        raise problems[0]
    source = read_source(args.model)
    say(f"{args.model}: {source.family or 'no known family'}, {source.digest[:19]}")
    samples: tuple[Sample, ...] = ()
    if args.images:
        samples = find_samples(args.images, labels=source.labels, limit=args.limit, progress=say)
    return source, open_source(source, say), samples


def _take_model_from_images(args: argparse.Namespace) -> None:
    """`--images FOLDER MODEL`: --images takes all that follows it, the model too."""
    if args.model is None and len(args.images) > 1:
        args.model = args.images.pop()
    if args.model is None:
        args.refuse("the following arguments are required: model")


def _refused(check: Callable[[], object]) -> UserError | None:
    try:
        check()
    except UserError as error:
        return error
    return None


def _there(model: Path) -> None:
    if not model.exists():
        raise ModelSourceMissing(f"model {model} is not there; a path is relative to the working directory.")


def _writable(path: Path) -> None:
    """Tells early what `write_text` would tell after minutes."""
    folder = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    if path.is_dir():
        reason = "it is a folder"
    elif path.exists() and not os.access(path, os.W_OK):
        reason = "you may not write it"
    elif not folder.is_dir():
        reason = f"{folder} is no folder"
    elif not path.exists() and not os.access(folder, os.W_OK | os.X_OK):
        reason = f"you may not write into {folder}"
    else:
        return
    raise CalibrationUnusable(f"{path} can't be written: {reason}. Name another file.")


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
