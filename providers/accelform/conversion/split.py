"""A model cut where the FPGA's part begins and ends: what every source delivers and every conversion starts from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from accelform_runtime.network.network import Network
from accelform_runtime.network.parameters import Parameters

if TYPE_CHECKING:
    import onnx

    from accelform.featurizers.spec import Preprocess


@dataclass(frozen=True, kw_only=True)
class TensorInfo:
    """A graph's input or output: TensorFlow name, the short name clients may use, type, shape (-1: any length)."""

    name: str
    alias: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SplitModel:
    """Front on the CPU, network on the FPGA, head on the CPU.

    Attributes:
        network: the FPGA's part; its steps carry the family's names where a family matches
        parameters: float32 arrays of its steps, batch norm folded in; empty where only the topology was asked for
        family: the matched family, or None
        mismatch: why no family matches, naming the first difference; empty if one does
        image_tensor: name of what the network reads, float32 [1, height, width, channels]
        inputs, outputs: the tensors on the wire
        preprocess: set when the wire carries encoded images; the converter writes the front itself
        front: graph from the wire's inputs to `image_tensor`; None: the wire carries `image_tensor`, or images
        head: graph from the network's output tensors to the wire's outputs; None: they are the same
        opset: of `front` and `head`
        labels: one per class, in output order; empty if there are none
    """

    network: Network
    parameters: Parameters
    family: str | None
    mismatch: str = ""
    image_tensor: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    preprocess: Preprocess | None = None
    front: onnx.GraphProto | None = None
    head: onnx.GraphProto | None = None
    opset: int = 24
    labels: tuple[str, ...] = field(default=())
