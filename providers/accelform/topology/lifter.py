"""Walks an ONNX graph once, forwards from the image, and keeps for every value what it is to the FPGA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from accelform.topology.constants import Budget, Constant, fold, initializer, pieces
from accelform.topology.graph import Graph, Node
from accelform.topology.raw import Raw, Vector
from accelform.topology.values import MapValue, NotLiftable, Order, Value
from accelform_runtime.network.steps import Maps

MAX_MAPS = 2**27
"""Elements of the maps of one step."""

Handler = Callable[["Lifter", Node], Value]


@dataclass(kw_only=True)
class Lifter:
    """What is known so far.

    Attributes:
        values: ONNX value -> what it is to the FPGA; values that are missing stay on the CPU
        constants: ONNX value -> its array, where it is known before the graph runs
        raws: raw steps, the image first
        refusals: ONNX node -> why it stays on the CPU, of nodes that read maps
    """

    graph: Graph
    with_weights: bool
    constants: dict[str, Constant]
    values: dict[str, Value] = field(default_factory=dict)
    raws: list[Raw] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    def add(self, raw: Raw) -> int:
        """Its index.

        Raises:
            NotLiftable: it gives nothing, or more than any FPGA could hold
        """
        if not 0 < raw.maps.size <= MAX_MAPS:
            raise NotLiftable(f"gives maps of {raw.maps.height} x {raw.maps.width} x {raw.maps.channels}")
        self.raws.append(raw)
        return len(self.raws) - 1

    def maps(self, node: Node, index: int = 0, *, padded: bool = False) -> MapValue:
        """The maps that an input is.

        Raises:
            NotLiftable: it is something else, or padded maps where the operator can't take them
        """
        value = self.values.get(node.input(index))
        if not isinstance(value, MapValue):
            raise NotLiftable("also reads what is not in the FPGA's part")
        if not value.plain and not padded:
            raise NotLiftable("reads padded maps")
        return value

    def constant(self, node: Node, index: int) -> Constant | None:
        """A constant input; None if it is left out.

        Raises:
            NotLiftable: it is only known when the graph runs
        """
        name = node.input(index)
        if not name:
            return None
        if name not in self.constants:
            raise NotLiftable("has settings that are computed while it runs")
        return self.constants[name]

    def integers(self, node: Node, index: int) -> tuple[int, ...] | None:
        """A constant input of integers."""
        constant = self.constant(node, index)
        return None if constant is None else tuple(int(value) for value in constant.array().reshape(-1))

    def axes(self, node: Node, position: int = 1) -> tuple[int, ...] | None:
        """The axes that an operator works along: an attribute in older opsets, an input in newer."""
        given = node.attribute("axes")
        return tuple(given) if given is not None else self.integers(node, position)

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one element, or of many equal ones."""
        constant = self.constants.get(name)
        if constant is None or constant.size == 0 or not (constant.real or constant.size == 1):
            return None
        values = constant.array().reshape(-1)
        return float(values[0]) if constant.size == 1 or bool((values == values[0]).all()) else None

    def output(self, value: MapValue, raw: Raw) -> MapValue:
        """A new raw step whose maps are written as `value` is, with its own sizes."""
        maps, layout = raw.maps, value.layout
        shape, order = value.shape, value.order
        if maps != value.maps or not value.plain:
            if layout is None:
                raise NotLiftable("changes sizes of maps that were reshaped")
            shape, order = written(maps, layout), layout
        return replace(value, raw=self.add(raw), maps=maps, order=order, shape=shape, padding=(0, 0, 0, 0), fill=0.0)


def written(maps: Maps, order: Order) -> tuple[int, ...]:
    """The shape of maps with a batch axis, channels first or last."""
    sides = (maps.height, maps.width)
    return (1, maps.channels, *sides) if order == "CHW" else (1, *sides, maps.channels)


def per_channel(value: MapValue, constant: Constant) -> Vector:
    """A constant that is broadcast onto maps, as one number per channel.

    Raises:
        NotLiftable: it differs between positions
        InvalidWeights: NaN or infinite values
    """
    channels = value.maps.channels
    if constant.size == 1 and len(constant.shape) <= len(value.shape):
        return constant.vector().repeat(channels)
    axis = value.channel_axis
    shape = (1,) * (len(value.shape) - len(constant.shape)) + constant.shape
    expected = tuple(channels if index == axis else 1 for index in range(len(value.shape)))
    if axis is None or shape != expected:
        raise NotLiftable(
            f"combines maps with a constant of shape {list(constant.shape)}, which is not one number per channel"
        )
    return constant.vector()


def known_constants(graph: Graph, *, with_weights: bool) -> dict[str, Constant]:
    """Initializers, and what nodes make of them alone."""
    found: dict[str, Constant] = {}
    for name, tensor in graph.initializers.items():
        if name in graph.inputs:
            continue
        if (constant := initializer(name, tensor, with_weights=with_weights)) is not None:
            found[name] = constant
    budget = Budget()
    for node in graph.nodes:
        fold_node(node, found, graph, with_weights=with_weights, budget=budget)
    return found


def fold_node(
    node: Node, constants: dict[str, Constant], graph: Graph, *, with_weights: bool, budget: Budget | None = None
) -> None:
    """Adds the first output of `node` to `constants` if all its inputs are there."""
    if any(name and name not in constants for name in node.inputs) or node.outputs[0] in graph.inputs:
        return
    inputs = [constants.get(name) if name else None for name in node.inputs]
    if node.op == "Split":
        constants.update(zip(node.outputs, pieces(node, inputs), strict=False))
        return
    if (result := fold(node, inputs, with_weights=with_weights, budget=budget)) is not None:
        constants[node.outputs[0]] = result


def lift(
    graph: Graph,
    constants: dict[str, Constant],
    handlers: Mapping[str, Handler],
    *,
    image: str,
    start: MapValue,
    with_weights: bool,
) -> Lifter:
    """Everything that follows from the value `image`, whose layout is `start`.

    Raises:
        InvalidWeights: NaN or infinite values in a constant on the way
    """
    lifter = Lifter(graph=graph, with_weights=with_weights, constants=constants)
    lifter.values[image] = start
    lifter.add(Raw(kind="image", sources=(), maps=start.maps, node=image))
    budget = Budget()
    for node in graph.nodes:
        if not node.outputs or node.outputs[0] in lifter.values:
            continue
        if not any(name in lifter.values for name in node.inputs):
            if node.outputs[0] not in constants:
                fold_node(node, constants, graph, with_weights=with_weights, budget=budget)
            continue
        handler = handlers.get(node.op)
        try:
            if handler is None:
                raise NotLiftable("is an operator that the FPGA does not have")
            lifter.values[node.outputs[0]] = handler(lifter, node)
        except NotLiftable as refusal:
            if node.outputs[0] not in constants:
                lifter.refusals[node.label] = f"{node.label} ({node.op}) {refusal}"
        except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
            # Attributes of the wrong type, axes that aren't there, ...: whoever runs the graph will say what is wrong.
            lifter.refusals[node.label] = f"{node.label} ({node.op}) has settings that don't fit its inputs"
    return lifter
