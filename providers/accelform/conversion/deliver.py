"""A conversion as it is delivered: the bundle that an image serves, and beside it what people read about it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from accelform._base.progress import Progress, silent

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.sources.model import ModelSource
    from accelform_runtime.timing.estimate import Estimate

BUNDLE_FILE = "bundle.json"
REPORT_PAGE = "report.html"
REPORT_DATA = "report.json"
IMPORT_LOG = "import.log"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to convert to.

    Attributes:
        input_tensors, output_tensors: of the wire; None keeps the model's own
        calibration_images: folder or file of images to compare the formats on; None measures nothing
    """

    name: str
    version: str
    number_format: str
    input_tensors: Sequence[str] | None = None
    output_tensors: Sequence[str] | None = None
    calibration_images: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Written files by name, their sha256 (hex), and the forecast."""

    estimate: Estimate
    files: Mapping[str, Path]
    sha256s: Mapping[str, str]


def deliver(
    source: ModelSource,
    split: SplitModel,
    *,
    output_dir: Path,
    wanted: Wanted,
    progress: Progress = silent,
) -> Delivery:
    """Converts what `load_source` gave, compares on the calibration images, and reports; `progress` gets a line per
    step.

    Raises:
        UnknownNumberFormat, UnknownTensor: there is no such profile or tensor.
        CalibrationUnusable: the images are missing or don't fit.
        InvalidWeights, UnsupportedModel and the sources' other errors.
    """
    from accelform.conversion.converter import choose_tensors, convert, number_format_of
    from accelform.report import write_report
    from accelform.report.fidelity import measure
    from accelform.report.samples import find_samples

    split = choose_tensors(
        split,
        name=wanted.name,
        input_tensors=wanted.input_tensors,
        output_tensors=wanted.output_tensors,
    )
    fmt = number_format_of(wanted.number_format)
    images = find_samples([wanted.calibration_images], labels=source.labels) if wanted.calibration_images else ()
    converted = convert(
        split,
        output_dir=output_dir,
        name=wanted.name,
        version=wanted.version,
        number_format=wanted.number_format,
        progress=progress,
    )
    files = dict(converted.files)
    if source.import_log is not None:
        files[IMPORT_LOG] = Path(shutil.copyfile(source.import_log, output_dir / IMPORT_LOG))
    fidelity = None
    if images and fmt.quantised:
        fidelity = measure(split, images, fmt=fmt, built=converted.built, progress=progress)
    files |= write_report(
        output_dir=output_dir,
        name=wanted.name,
        version=wanted.version,
        source={"digest": source.digest, "framework": source.framework, "kind": source.kind}
        | ({"assumed": "; ".join(source.assumptions)} if source.assumptions else {}),
        split=split,
        fmt=fmt,
        estimate=converted.estimate,
        fidelity=fidelity,
        links={name: name for name in files},
    )
    return Delivery(estimate=converted.estimate, files=files, sha256s=_sha256s(files))


def _sha256s(files: Mapping[str, Path]) -> dict[str, str]:
    """The bundle's description says what its own files have; only the others are read."""
    described = json.loads(files[BUNDLE_FILE].read_bytes())["files"]
    return {
        name: described[name]["sha256"] if name in described else hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in files.items()
    }


def served_files(names: Iterable[str], bundle: bytes) -> list[str]:
    """Of a delivery's files those that an image needs: `bundle.json` (its content is given) and what it vouches for."""
    listed = json.loads(bundle)["files"]
    return [name for name in names if name == BUNDLE_FILE or name in listed]
