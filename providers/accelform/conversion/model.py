"""The served graph and its parts: front on the CPU, network on the FPGA, head on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import onnx

from accelform.conversion.block_floating_point import functions
from accelform.conversion.graph import DOUBLE, FLOAT, FLOAT16, UINT8, GraphWriter, tensor_value
from accelform.conversion.joining import as_model, ends, inner_names, renamed
from accelform.conversion.network_writer import NetworkWriter
from accelform.conversion.preprocess import preprocess
from accelform.conversion.split import SplitModel
from accelform.errors import UnsupportedModel
from accelform_runtime.network.packed import Packed
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.numerics.format import NumberFormat

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class BuiltModel:
    """A converted model in memory.

    Attributes:
        proto: the whole served graph
        packed: the network's arrays as the FPGA stores them
        layer_values: step name -> name of its value [1, channels, height, width] in `proto`
        front, head: what an engine needs that computes the network itself; None where the wire carries what the
            network reads, or gives
    """

    proto: onnx.ModelProto
    packed: Packed
    layer_values: Mapping[str, str]
    front: onnx.ModelProto | None
    head: onnx.ModelProto | None

    @property
    def parameters(self) -> Parameters:
        """The network's float32 arrays, quantised: what `Reference` computes with."""
        return self.packed.parameters()


def build_model(split: SplitModel, *, name: str, packed: Packed, fmt: NumberFormat) -> BuiltModel:
    """Writes the graph.

    Raises:
        UnsupportedModel: front or head can't be brought to the converter's opset, or don't fit the network.
    """
    front, head = _front(split), _head(split)
    if len(split.inputs) != 1 or (front is None and split.inputs[0].name != split.image_tensor):
        raise UnsupportedModel(
            f"{name}: the wire carries {', '.join(tensor.name for tensor in split.inputs)}, and the FPGA's part reads "
            f"{split.image_tensor}. Choose one input tensor that leads to it."
        )
    writer = GraphWriter()
    inputs = [_image_value(split)]
    if front is not None:
        own = split.preprocess is not None
        inputs = writer.include(front.graph if own else renamed(front.graph, inner_names(front.graph), prefix="front"))
    network = NetworkWriter(writer, split.network, packed, fmt)
    network.write(split.image_tensor)
    known = {output.tensor: tensor_value(output.tensor, FLOAT, [1, *output.shape]) for output in split.network.outputs}
    if head is not None:
        if strange := sorted(ends(head.graph) - known.keys() - {value.name for value in head.graph.output}):
            raise UnsupportedModel(
                f"{name}: what follows the FPGA's part reads {strange[0]}, which is not among its tensors: "
                f"{', '.join(known)}. Choose other output tensors."
            )
        writer.include(renamed(head.graph, inner_names(head.graph) & writer.names, prefix="head"))
        known |= {output.name: output for output in head.graph.output}
    if lost := [tensor.name for tensor in split.outputs if tensor.name not in known]:
        raise UnsupportedModel(f"{name}: no part of the model gives {lost[0]}; there are {', '.join(known)}")
    proto = writer.model(
        name=name,
        inputs=inputs,
        outputs=[known[tensor.name] for tensor in split.outputs],
        functions=functions(fmt),
        documentation=f"{split.family or split.network.name}, {fmt.name}: {fmt.title}",
    )
    return BuiltModel(proto=proto, packed=packed, layer_values=network.layer_values, front=front, head=head)


def _front(split: SplitModel) -> onnx.ModelProto | None:
    if split.preprocess is None:
        return None if split.front is None else as_model(split.front, split.opset, what="what precedes the FPGA's part")
    writer = GraphWriter()
    writer.scope = "preprocess"
    image, size = split.inputs[0].name, split.network.image
    if split.front is None:
        height, width = size.height, size.width
        preprocess(writer, image, settings=split.preprocess, height=height, width=width, name=split.image_tensor)
    else:
        own = as_model(split.front, split.opset, what="what precedes the FPGA's part").graph
        height, width, _ = picture_sides(split.front)
        pixels = preprocess(
            writer, image, settings=split.preprocess, height=height, width=width, name=f"{writer.scope}/pixels"
        )
        own = renamed(own, inner_names(own) | {own.input[0].name}, prefix="own")
        _as_input(writer, pixels, own.input[0])
        writer.include(own)
    return writer.model(
        name="preprocess",
        inputs=[tensor_value(image, UINT8, [1, "height", "width", 3])],
        outputs=[_image_value(split)],
        functions=[],
        documentation="One decoded image in, what the network reads out.",
    )


def picture_sides(front: onnx.GraphProto) -> tuple[int, int, bool]:
    """Height and width of the pictures that a front reads, and whether their channels come first.

    Raises:
        UnsupportedModel: it reads no pictures of one size in three colours.
    """
    dims = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in front.input[0].type.tensor_type.shape.dim]
    if len(dims) == 4 and min(dims[1:]) > 0 and 3 in (dims[1], dims[3]):
        first = dims[3] != 3
        return (dims[2], dims[3], True) if first else (dims[1], dims[2], False)
    raise UnsupportedModel(f"{front.input[0].name} takes {dims}, which is no picture of one size in three colours")


def _as_input(writer: GraphWriter, pixels: str, wanted: onnx.ValueInfoProto) -> None:
    """float32 [1, height, width, 3] in the type and layout of a network's own input."""
    element = wanted.type.tensor_type.elem_type
    whole = element not in (FLOAT, FLOAT16, DOUBLE)
    steps: list[tuple[str, dict[str, Any]]] = []
    dims = [dim.dim_value for dim in wanted.type.tensor_type.shape.dim]
    if dims[3] != 3:
        steps.append(("Transpose", {"perm": [0, 3, 1, 2]}))
    if whole:
        steps.append(("Round", {}))
    if element != FLOAT:
        steps.append(("Cast", {"to": element}))
    steps = steps or [("Identity", {})]
    for index, (op, attributes) in enumerate(steps, start=1):
        pixels = writer.op(op, pixels, name=wanted.name if index == len(steps) else "", **attributes)


def _head(split: SplitModel) -> onnx.ModelProto | None:
    return None if split.head is None else as_model(split.head, split.opset, what="what follows the FPGA's part")


def _image_value(split: SplitModel) -> onnx.ValueInfoProto:
    maps = split.network.image
    return tensor_value(split.image_tensor, FLOAT, [1, maps.height, maps.width, maps.channels])
