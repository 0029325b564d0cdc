"""From a path to a source, and from a source to a split model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.errors import ModelSourceMissing, NotAModel
from accelform.sources import featurizer
from accelform.sources.files import read_text
from accelform.sources.model import ModelSource

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel

YAML = (".yaml", ".yml")


def read_source(path: Path) -> ModelSource:
    """Identity, tensors and topology of a model, found out locally; arrays are looked at but not kept.

    Raises:
        ModelSourceMissing: a file is missing, unreadable, or outside the model's folder.
        NotAModel: this is no model that Accelform knows.
        InvalidFeaturizerSpec: a YAML file with problems.
        InvalidWeights, WeightsUnreadable: arrays don't fit, or a file can't be read.
    """
    path = Path(path)
    if path.is_dir():
        raise NotAModel(f"{path} is a folder; name the featurizer specification in it, e.g. {path / 'featurizer.yaml'}")
    if path.suffix.lower() not in YAML:
        if not path.exists():
            raise ModelSourceMissing(f"{path} is missing. Check model_path; it is relative to Pulumi.yaml.")
        raise NotAModel(f"{path} is not a featurizer specification: its name must end in .yaml or .yml")
    return featurizer.read_featurizer(path, read_text(path, what=featurizer.WHAT))


def open_source(source: ModelSource, progress: Callable[[str], None] = lambda _: None) -> SplitModel:
    """The model with its arrays, split into CPU and FPGA parts; `progress` gets a line per step.

    Raises:
        InvalidWeights and the weight sources' other errors: the weights can't be had or don't fit.
    """
    return featurizer.open_featurizer(source, progress)
