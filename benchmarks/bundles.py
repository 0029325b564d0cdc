"""The example network in two number formats, converted once per benchmark run."""

from __future__ import annotations

from pathlib import Path

from accelform.conversion import convert
from accelform.sources import open_source, read_source

ROOT = Path(__file__).parents[1]
SPECIFICATION = ROOT / "examples" / "digits" / "model.yaml"
IMAGE = ROOT / "examples" / "digits" / "images" / "digit-3.png"


def converted(folder: Path, number_format: str) -> Path:
    """The bundle's folder for `number_format`, made below `folder`."""
    output = folder / number_format
    convert(
        open_source(read_source(SPECIFICATION)),
        output_dir=output,
        name="benchmark",
        version="1",
        number_format=number_format,
    )
    return output
