"""From an ONNX model to a front on the CPU, a network on the FPGA and a head on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from accelform.conversion.split import SplitModel
from accelform.errors import UnsupportedModel
from accelform.featurizers.families import NETWORK_INPUT
from accelform.topology.blocks import block_handlers
from accelform.topology.cut import Slice, backwards, check_operators, front_graph, head_graph
from accelform.topology.fuse import Fused, fuse
from accelform.topology.graph import Graph, foreign_types, read_graph
from accelform.topology.image import find_image
from accelform.topology.layout import LAYOUT_HANDLERS
from accelform.topology.lifter import Lifter, known_constants, lift
from accelform.topology.match import Match, match
from accelform.topology.norms import NORM_HANDLERS
from accelform.topology.pointwise import POINTWISE_HANDLERS
from accelform.topology.values import MapValue
from accelform.topology.windows import WINDOW_HANDLERS
from accelform.topology.wire import wire_inputs, wire_outputs
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.parameters import Parameters
from accelform_runtime.network.steps import Maps

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_PLAIN = {**WINDOW_HANDLERS, **POINTWISE_HANDLERS, **NORM_HANDLERS, **LAYOUT_HANDLERS}
HANDLERS = {**_PLAIN, **block_handlers(_PLAIN)}


@dataclass(frozen=True, kw_only=True)
class _Lifted:
    """The largest part that the FPGA can take, and what is left behind it."""

    lifter: Lifter
    fused: Fused
    network: Network
    rest: Slice
    image: str


def split_onnx(
    model: onnx.ModelProto,
    *,
    input_tensors: Sequence[str] | None = None,
    output_tensors: Sequence[str] | None = None,
    with_weights: bool = True,
    progress: Callable[[str], None] | None = None,
) -> SplitModel:
    """Lifts as much of `model` as the FPGA can run into a network, and matches that with the five families.

    Nothing is executed. Weights of other floating-point types are rounded to float32. Batch axes become 1 in the
    network; on the wire they stay as they are. Of a matched model exactly the family's featurizer is the network; of
    another one everything up to the first operator on each way that the FPGA does not have.

    Args:
        input_tensors, output_tensors: where the served part begins and ends; the graph's own ends if empty
        with_weights: False reads the topology only: no parameters and no head
        progress: is told what happens to the model's numbers

    Raises:
        NotAModel: the file's contents don't fit each other
        UnsupportedModel: nothing that the FPGA could run, or something that neither it nor the CPU can
        UnknownTensor: a named tensor does not exist
        InvalidWeights: NaN or infinite values, or a tensor that lacks bytes
    """
    graph = read_graph(model, input_tensors=input_tensors, output_tensors=output_tensors)
    constants = known_constants(graph, with_weights=with_weights)
    image, start = find_image(graph, constants)
    if progress is not None and (types := foreign_types(graph)):
        progress(f"weights are {types} in the file and become float32; the FPGA's part computes in its own format")
    front = backwards(graph, [image], constants)
    _check_inputs(graph, front, image)
    lifter = lift(graph, constants, HANDLERS, image=image, start=start, with_weights=with_weights)
    lifted = _largest(lifter, image)
    found = match(lifted.network)
    rest = lifted.rest
    names = {step.name: step.name for step in lifted.network.steps}
    network, mismatch = lifted.network, found.first_difference
    if found.family is None:
        mismatch += _left_behind(lifted)
    if found.family is not None:
        narrowed, reason = _family_rest(lifted, found)
        if narrowed is None:
            found, mismatch = Match(family=None, network=lifted.network, mapping={}, first_difference=reason), reason
        else:
            rest, names, network = narrowed, {old: new for new, old in found.mapping.items()}, found.network
    outputs, tensors, direct = _outputs(lifted, rest, network, names, found)
    network = _with_outputs(network, outputs)
    check_operators(graph, (*front.nodes, *rest.nodes))
    taken = {*graph.inputs, *graph.outputs, *graph.initializers, *graph.producers}
    is_tensor = image in graph.inputs and start.layout == "HWC" and graph.types[image].element == TensorProto.FLOAT
    image_tensor = image if is_tensor and start.order == "HWC" else _free_name(NETWORK_INPUT, taken)
    parameters: Parameters = {}
    front_part = head_part = None
    if image_tensor != image and (
        with_weights or all(constants[name].real for name in front.constants if name in constants)
    ):
        front_part = front_graph(graph, front, constants, image=image, start=start, tensor=image_tensor)
    if with_weights:
        kept = lifted.fused.parameters(only={old for old, new in names.items() if new in network.by_name})
        parameters = {names[old]: arrays for old, arrays in kept.items()}
        if not direct:
            sizes = {output.tensor: network.maps[output.value] for output in outputs}
            head_part = head_graph(lifter, rest, outputs, tensors, sizes)
    return SplitModel(
        network=network,
        parameters=parameters,
        family=found.family,
        mismatch=mismatch,
        image_tensor=image_tensor,
        inputs=wire_inputs(graph, front.inputs),
        outputs=wire_outputs(lifter),
        front=front_part,
        head=head_part,
        opset=graph.opset,
    )


def _check_inputs(graph: Graph, front: Slice, image: str) -> None:
    if len(front.inputs) != 1 or len(graph.inputs) > 1:
        names = ", ".join(sorted({*graph.inputs, *front.inputs})) or "none"
        raise UnsupportedModel(
            f"the network has {len({*graph.inputs, *front.inputs})} inputs ({names}); the FPGA's part is fed by "
            f"exactly one, the image: fold the others into the model as constants, or name the one tensor to start "
            f"from in input_tensors"
        )


def _largest(lifter: Lifter, image: str) -> _Lifted:
    rest = _rest(lifter, lambda raw: raw > 0)
    if rest.inputs or image_needed(rest, image):
        raise UnsupportedModel(_beside(lifter, rest, image))
    needed = [value.raw for name in rest.reads if isinstance(value := lifter.values[name], MapValue)]
    if not needed:
        raise UnsupportedModel("the outputs don't depend on anything that the FPGA could run")
    fused = fuse(lifter.raws, needed)
    outputs = tuple(
        Output(tensor=f"{fused.names[raw]}:0", value=fused.names[raw], shape=_sides(lifter.raws[raw].maps))
        for raw in dict.fromkeys(needed)
    )
    name = "".join(char if char.isalnum() or char in "_-." else "_" for char in lifter.graph.name)[:64]
    network = Network(name=name or "network", image=lifter.raws[0].maps, steps=fused.steps(), outputs=outputs)
    return _Lifted(lifter=lifter, fused=fused, network=network, rest=rest, image=image)


def _rest(lifter: Lifter, stop: Callable[[int], bool]) -> Slice:
    def stops(name: str) -> bool:
        value = lifter.values.get(name)
        return isinstance(value, MapValue) and value.plain and stop(value.raw)

    return backwards(lifter.graph, lifter.graph.outputs, lifter.constants, stops=stops)


def image_needed(rest: Slice, image: str) -> bool:
    """Whether what stays on the CPU also reads the image itself."""
    return image in rest.inputs or any(image in node.inputs or image in node.outputs for node in rest.nodes)


def _left_behind(lifted: _Lifted) -> str:
    """Why layers that an FPGA could be wanted for stay on the CPU; empty if none do."""
    layers = [node for node in lifted.rest.nodes if node.op in LAYERS]
    if not layers:
        return ""
    refusals = lifted.lifter.refusals
    first = next((refusals[node.label] for node in lifted.rest.nodes if node.label in refusals), "")
    return f". {len(layers)} of its layers stay on the CPU: {first}" if first else ""


def _beside(lifter: Lifter, rest: Slice, image: str) -> str:
    readers = [node for node in rest.nodes if image in node.inputs or any(name in rest.inputs for name in node.inputs)]
    reader = readers[0] if readers else None
    why = lifter.refusals.get(reader.label, f"{reader.label} ({reader.op}) reads it") if reader else "it is an output"
    return (
        f"the part behind the FPGA also needs the input itself ({why}): the FPGA gives its results only, so whatever "
        f"reads the image has to run on it; name output_tensors that don't need this node, or change it"
    )


def _family_rest(lifted: _Lifted, found: Match) -> tuple[Slice | None, str]:
    """What stays on the CPU behind the family's featurizer, or why that can't be cut off."""
    lifter, drafts = lifted.lifter, lifted.fused.drafts
    ends = {drafts[found.mapping[output.value]].last for output in found.network.outputs}
    rest = _rest(lifter, lambda raw: raw in ends)
    if not rest.inputs and not image_needed(rest, lifted.image):
        return rest, ""
    values = {name for node in rest.nodes for name in node.inputs}
    inner = next(
        (node for node in lifter.graph.nodes if node.outputs[0] in values and node.outputs[0] in lifter.values), None
    )
    title = found.title
    place = f"what {inner.label} gives" if inner else "values inside the featurizer"
    return None, (
        f"{title} agrees in every step, but what follows also reads {place}, before the features: the FPGA gives the "
        f"features only"
    )


def _outputs(
    lifted: _Lifted, rest: Slice, network: Network, names: dict[str, str], found: Match
) -> tuple[tuple[Output, ...], dict[str, str], bool]:
    """The network's outputs, which value of the graph each is, and whether they are the wire's own."""
    lifter, graph = lifted.lifter, lifted.lifter.graph
    reads = [(name, value) for name in rest.reads if isinstance(value := lifter.values[name], MapValue)]
    steps = {name: names[lifted.fused.names[value.raw]] for name, value in reads}
    wired = {name: graph.types.get(name) for name in graph.outputs}
    direct = set(rest.reads) == set(graph.outputs) and all(
        "HWC" in value.orders and ((typed := wired[name]) is None or typed.element == TensorProto.FLOAT)
        for name, value in reads
    )
    if direct:
        shapes = {name: value.shape[1:] for name, value in reads}
        ends = tuple(Output(tensor=name, value=steps[name], shape=shapes[name]) for name in graph.outputs)
        return ends, {name: name for name in graph.outputs}, True
    taken = {*graph.inputs, *graph.outputs, *graph.initializers, *graph.producers}
    family = {output.value: output for output in network.outputs} if found.family is not None else {}
    ends_by_step: dict[str, Output] = {}
    for name, _ in reads:
        step = steps[name]
        if step not in ends_by_step:
            known = family.get(step)
            tensor = _free_name(known.tensor if known else f"{step}:0", taken)
            shape = known.shape if known else _sides(network.maps[step])
            ends_by_step[step] = Output(tensor=tensor, value=step, shape=shape)
    return tuple(ends_by_step.values()), {name: ends_by_step[steps[name]].tensor for name, _ in reads}, False


def _with_outputs(network: Network, outputs: tuple[Output, ...]) -> Network:
    return Network(
        name=network.name,
        image=network.image,
        steps=network.steps,
        outputs=outputs,
        width_divisor=network.width_divisor,
    )


def _sides(maps: Maps) -> tuple[int, int, int]:
    return (maps.height, maps.width, maps.channels)


def _free_name(wanted: str, taken: Collection[str]) -> str:
    """`wanted`, or a variant of it that no value of the graph has."""
    found, count = wanted, 0
    while found in taken:
        count += 1
        stem, _, end = wanted.rpartition(":")
        found = f"{stem}_fpga_{count}:{end}" if stem else f"{wanted}_fpga_{count}"
    return found
