"""From a path to a source, and from a source to a split model."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from accelform._base.progress import Progress, silent
from accelform.errors import UserError
from accelform.sources.model import ModelSource

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel
    from accelform.sources.locating import Found

Names = Sequence[str] | None


def read_source(
    path: Path,
    *,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
    progress: Progress = silent,
) -> ModelSource:
    """Identity, tensors and topology of a model, found out locally; nothing that a file carries is executed.

    `path` is a file, or a folder or zip archive with one model in it. TensorFlow's and Keras's files are imported the
    first time, which takes a while and tells of it by `progress`; the import is kept. Tensors default to the model's.

    Raises:
        ModelSourceMissing: a file is missing, unreadable, or outside the model's folder.
        NotAModel: this is no model that Accelform knows, or it is another kind than its name says.
        UnsafeModel: it carries what would be executed, or would reach outside.
        InvalidFeaturizerSpec: a YAML file with problems.
        InvalidWeights, WeightsUnreadable: arrays don't fit, or a file can't be read.
        UnknownTensor, UnsupportedModel: the network lacks a tensor, or has something that can't be served.
        TensorFlowMissing, ImportFailed: the import can't be made.
    """
    from accelform.sources.known import keep_source_at, source_at

    path, since = Path(path), time.time()
    if (known := source_at(path, inputs=input_tensors, outputs=output_tensors)) is not None:
        for assumption in known.assumptions:
            progress(f"{known.path.name}: {assumption}")
        return known
    from accelform.sources.locating import located

    with _told(), located(path) as found:
        source = _read(found, path, inputs=input_tensors, outputs=output_tensors, progress=progress)
    keep_source_at(path, source, inputs=input_tensors, outputs=output_tensors, since=since)
    return source


def load_source(path: Path, progress: Progress = silent) -> tuple[ModelSource, SplitModel]:
    """`read_source` and `open_source` in one: the files are looked at and hashed once, and what was read of the same
    content before is not found out again.

    Raises: as `read_source`.
    """
    from accelform.sources.locating import FEATURIZER, located

    path = Path(path)
    with _told(), located(path) as found:
        source = _read(found, path, progress=progress)
        if found.kind == FEATURIZER:
            from accelform.sources.featurizer import open_featurizer

            return source, open_featurizer(source, progress)
        from accelform.sources.networks import open_network

        return source, open_network(found, source, progress=progress)


def open_source(
    source: ModelSource,
    progress: Progress = silent,
    *,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
) -> SplitModel:
    """The model with its arrays, split into CPU and FPGA parts; `progress` gets a line per step.

    Raises: as `read_source`; UserError if the files are others than those of `source` by now.
    """
    if source.spec is not None:
        from accelform.sources.featurizer import open_featurizer

        return open_featurizer(source, progress)
    from accelform.sources.locating import located
    from accelform.sources.networks import open_network

    with _told(), located(source.path) as found:
        kept = {(file.name, file.sha256) for file in source.files}
        if {(file.name, file.sha256) for file in found.files} != kept:
            raise UserError(f"{source.path} changed while it was being converted; run the same command again.")
        return open_network(found, source, inputs=input_tensors, outputs=output_tensors, progress=progress)


def _read(found: Found, path: Path, *, inputs: Names = None, outputs: Names = None, progress: Progress) -> ModelSource:
    from accelform.sources.locating import FEATURIZER

    if found.kind == FEATURIZER:
        from accelform.sources.featurizer import read_featurizer

        return read_featurizer(found.entry, found.text, progress)
    from accelform.sources.networks import read_network

    return read_network(found, path, inputs=inputs, outputs=outputs, progress=progress)


@contextmanager
def _told() -> Iterator[None]:
    """Messages are text, whatever the bytes of the names are that they tell of."""
    try:
        yield
    except UserError as error:
        if (said := _shown(str(error))) == str(error):
            raise
        raise type(error)(said) from error


def _shown(text: str) -> str:
    try:
        return os.fsencode(text).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
