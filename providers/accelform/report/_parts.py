"""The three parts of a split model, counted: what runs in front of the FPGA, on it, and after it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from accelform.conversion.work import multiply_accumulates
from accelform_runtime.network.steps import Affine, Convolution, Normalise

if TYPE_CHECKING:
    import onnx

    from accelform.conversion.split import SplitModel, TensorInfo
    from accelform_runtime.network.network import Network
    from accelform_runtime.numerics.format import NumberFormat

FLOAT_BYTES = 4
ENCODED = "DT_STRING"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of front, fpga, head.

    Attributes:
        part: `front`, `fpga` or `head`
        place: `CPU` or `FPGA`
        what: what it does, in a few words
        layers: nodes of a graph, steps of a network; 0 where the part does nothing
        kinds: kind of layer -> how many, most frequent first
        parameters: numbers in its constants
        parameter_bytes: as stored: float32 on the CPU, in the number format on the FPGA
        multiply_accumulates: of one image; None where shapes are not known well enough to count
        reads, gives: tensors, each `name type [shape]`
    """

    part: str
    place: str
    what: str
    layers: int
    kinds: dict[str, int]
    parameters: int
    parameter_bytes: int
    multiply_accumulates: int | None
    reads: tuple[str, ...]
    gives: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def parts_of(split: SplitModel, fmt: NumberFormat) -> tuple[Part, Part, Part]:
    """Front, FPGA's part, head of `split`, the FPGA's weights stored in `fmt`."""
    network = split.network
    sides = network.image
    image = (f"{split.image_tensor} float32 [1, {sides.height}, {sides.width}, {sides.channels}]",)
    leaving = tuple(f"{output.tensor} float32 {_shape((1, *output.shape))}" for output in network.outputs)
    inputs = tuple(tensor_text(tensor) for tensor in split.inputs)
    outputs = tuple(tensor_text(tensor) for tensor in split.outputs)
    front = _graph_part("front", split.front, opset=split.opset, reads=inputs, gives=image, idle=_idle_front(split))
    head = _graph_part("head", split.head, opset=split.opset, reads=leaving, gives=outputs, idle="nothing left to do")
    return front, _network_part(network, fmt, reads=image, gives=leaving), head


def tensor_text(tensor: TensorInfo) -> str:
    """`name type [shape]`, a varying dimension as `?`."""
    return f"{tensor.name} {tensor.dtype.removeprefix('DT_').lower()} {_shape(tensor.shape)}"


def parameter_count(network: Network) -> int:
    """Weights and biases of the folded network: a batch norm is a scale in the weights and a bias."""
    found = 0
    for step in network.steps:
        if isinstance(step, Convolution):
            found += prod(step.weights_shape) + step.out_channels
        elif isinstance(step, Affine):
            found += 2 * step.channels
        elif isinstance(step, Normalise):
            found += step.channels
    return found


def _network_part(network: Network, fmt: NumberFormat, *, reads: tuple[str, ...], gives: tuple[str, ...]) -> Part:
    weights = sum(prod(conv.weights_shape) for conv in network.convolutions)
    rest = parameter_count(network) - weights
    return Part(
        part="fpga",
        place="FPGA",
        what="the featurizer, as one plan of layers",
        layers=len(network.steps),
        kinds=dict(Counter(type(step).__name__ for step in network.steps).most_common()),
        parameters=weights + rest,
        parameter_bytes=round(weights * fmt.bits_per_value / 8) + rest * FLOAT_BYTES,
        multiply_accumulates=network.multiply_accumulates,
        reads=reads,
        gives=gives,
    )


def _graph_part(
    part: str, graph: onnx.GraphProto | None, *, opset: int, reads: tuple[str, ...], gives: tuple[str, ...], idle: str
) -> Part:
    if graph is None:
        return Part(
            part=part, place="CPU", what=idle, layers=0, kinds={}, parameters=0, parameter_bytes=0,
            multiply_accumulates=0, reads=reads, gives=gives,
        )  # fmt: skip
    kinds = dict(Counter(node.op_type for node in graph.node).most_common())
    parameters = sum(prod(constant.dims) for constant in graph.initializer if constant.data_type in _real_types())
    return Part(
        part=part,
        place="CPU",
        what="the model's own graph",
        layers=len(graph.node),
        kinds=kinds,
        parameters=parameters,
        parameter_bytes=parameters * FLOAT_BYTES,
        multiply_accumulates=multiply_accumulates(graph, opset),
        reads=reads,
        gives=gives,
    )


def _real_types() -> frozenset[int]:
    """Of numbers that were learnt; integers are shapes and axes."""
    from onnx import TensorProto

    return frozenset((TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE))


def _idle_front(split: SplitModel) -> str:
    if split.preprocess is not None:
        return "decode, resize, crop, subtract means"
    if any(tensor.dtype == ENCODED for tensor in split.inputs):
        return "decode the image"
    return "nothing: the tensor comes as it is"


def _shape(shape: tuple[int, ...]) -> str:
    return "[" + ", ".join("?" if side < 0 else str(side) for side in shape) + "]"
