"""What a model is before anything is converted: identity, tensors, topology, files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.conversion.split import TensorInfo
from accelform_runtime.network.network import Network

if TYPE_CHECKING:
    from accelform.featurizers.spec import FeaturizerSpec, Preprocess

__all__ = ["ModelSource", "SourceFile", "TensorInfo"]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file the model is made of; `name` is relative to the model's folder, with `/`."""

    name: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """A model as its author wrote it.

    Attributes:
        path: the file or folder that was read
        kind: "featurizer", "onnx", "tensorflow" or "keras"
        digest: `sha256:...` over the settings and the files' contents; not over place, time or formatting
        framework: Azure ML's `model_framework`
        family: the network family that the FPGA has a bitstream for, or None
        mismatch: why there is none, naming the first difference; empty if there is one
        network: the FPGA's part, without arrays
        classes: length of the prediction; None without a classifier
        labels: one per class, in output order; empty if there are none
        files: everything needed to read the source again elsewhere, the one to start with first
        preprocess: set where the wire carries encoded images
        spec: the featurizer specification, for that kind
        multiply_accumulates: of one image in the whole network, on FPGA and CPU; None where they can't be counted
        import_log: what TensorFlow said when it read the files, for the kinds that need it
        assumptions: what the files left open, and what was taken for it; told at every reading
    """

    path: Path
    kind: str
    digest: str
    framework: str
    family: str | None
    mismatch: str = ""
    network: Network
    input_tensors: tuple[TensorInfo, ...]
    output_tensors: tuple[TensorInfo, ...]
    classes: int | None
    labels: tuple[str, ...]
    files: tuple[SourceFile, ...]
    preprocess: Preprocess | None = None
    spec: FeaturizerSpec | None = None
    multiply_accumulates: int | None = None
    import_log: Path | None = field(default=None, compare=False)
    assumptions: tuple[str, ...] = ()

    @property
    def fpga_share(self) -> float | None:
        """Of the multiply-accumulates those that the FPGA does, whose time a forecast is; None where not known."""
        from accelform.conversion.work import fpga_share

        return fpga_share(self.network.multiply_accumulates, self.multiply_accumulates)

    @property
    def folder(self) -> Path:
        """The folder that the files' names are relative to."""
        return self.path if self.path.is_dir() else self.path.parent
