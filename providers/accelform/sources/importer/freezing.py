"""A traced function as a graph without variables: their values stay where they are until they are written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from .graphs import LARGE_BYTES, Loaded, Naming, Weights, ancestors, describe, node_of
from .inline import followed, inlined
from .job import Job, Refused

Say = Callable[[str], None]
MAX_SHOWN = 3
RANDOM = re.compile(
    r"^(Stateless)?(Random(?!Dataset|GetKeyCounter|GetAlg)|Multinomial|TruncatedNormal|ParameterizedTruncatedNormal)"
)
MOVING = re.compile(r"(^|/)(moving_mean|moving_variance|moving_var|running_mean|running_var)(:\d+)?$")


def natural(key: str) -> tuple[str, int]:
    """Sorts `out_2` before `out_10`."""
    stem = key.rstrip("0123456789")
    return stem, int(key[len(stem) :] or 0)


def frozen(
    tf: Any,
    job: Job,
    function: Any,
    input_keys: list[str],
    output_keys: list[str],
    naming: Naming,
    say: Say,
    *,
    keys_are_aliases: bool = True,
) -> Loaded:
    """The function between the tensors that the job names, or its own.

    Its arguments and results have no names of their own (`Identity`), so keys go by position; results are called by
    them on the wire.

    Raises:
        Refused: a tensor is not there, or the function's answers are not those of a trained network.
    """
    say("putting the functions that it calls in their place")
    expanded = inlined(tf, function.graph.as_graph_def())
    names: Callable[[str], str] = str
    arrays: dict[str, Weights] = {}
    writes: dict[str, str] = {}
    if expanded is not None:
        graph_def, moved = expanded
        names = lambda tensor: followed(moved, tensor)  # noqa: E731
        known = _without_variables(tf, function, graph_def)
        if known is not None:
            graph_def, arrays, writes = known
    if expanded is None or known is None:
        # Loops and branches with variables inside: TensorFlow's own way, which needs several times the memory.
        say("freezing the variables")
        convert = import_module("tensorflow.python.framework.convert_to_constants").convert_variables_to_constants_v2
        graph = convert(function, lower_control_flow=False).graph
        graph_def, names = graph.as_graph_def(), str
        inputs, outputs = ([tensor.name for tensor in side] for side in (graph.inputs, graph.outputs))
    else:
        captured = {inner.name for _, inner in function.graph.captures}
        inputs = [it.name for it in function.graph.inputs if it.name not in captured and it.dtype != tf.resource]
        outputs = [names(it.name) for it in function.graph.outputs]
    aliases = dict(zip(inputs, input_keys, strict=False)) | dict(zip(outputs, output_keys, strict=False))
    spellings = {key: tensor for tensor, key in aliases.items()}
    spellings = {f"{key}:0": tensor for key, tensor in spellings.items()} | spellings
    # saved_model_cli's names are those of the outer graph; the signature's keys lead from them to the function's.
    spellings |= {outer: spellings[key] for outer, key in naming.aliases.items() if key in spellings}
    outputs.sort(key=lambda name: natural(aliases.get(name, "")) if keys_are_aliases else ("", 0))
    with tf.Graph().as_default() as outer_graph:
        tf.import_graph_def(graph_def, name="")
    shown = Naming(aliases if keys_are_aliases else {}, spellings, naming.listed)
    wanted = [names(name) if name not in spellings else name for name in job.output_tensors or outputs]
    ends = describe(outer_graph, job.input_tensors or inputs, wanted, shown)
    _check(graph_def, [tensor.name for tensor in ends[1]], writes)
    wire = {tensor: key for tensor, key in aliases.items() if tensor in outputs}
    return Loaded(graph_def, *ends, arrays, wire)


def _without_variables(tf: Any, function: Any, graph_def: Any) -> tuple[Any, dict[str, Weights], dict[str, str]] | None:
    """The graph with its variables' values in place of their reads, large ones as arrays, and what it writes to.

    None: it does more with a variable than reading and writing it.
    """
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    held: dict[str, Any] = {}
    for outer, inner in function.graph.captures:
        held[node_of(inner.name)] = variables.get(id(outer)) if outer.dtype == tf.resource else outer
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(graph_def.versions)
    result.library.CopyFrom(graph_def.library)
    arrays: dict[str, Weights] = {}
    writes: dict[str, str] = {}
    read: dict[str, str] = {}
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        sources = [_root(nodes, source) for source in node.input]
        used = [source for source in sources if source in held]
        if node.name in held:
            if (value := held[node.name]) is not None and not hasattr(value, "handle"):
                _constant(tf, result, node.name, value, arrays)
            continue
        if not used or not any(hasattr(held[source], "handle") or held[source] is None for source in used):
            result.node.add().CopyFrom(node)
        elif node.op == "ReadVariableOp" and held[used[0]] is not None:
            if used[0] in read:
                copy = result.node.add(name=node.name, op="Identity", input=[read[used[0]]])
                copy.attr["T"].type = node.attr["dtype"].type
            else:
                _constant(tf, result, node.name, held[used[0]], arrays)
                read[used[0]] = node.name
        elif node.op.startswith("Assign"):
            writes[used[0]] = str(getattr(held[used[0]], "name", used[0])).removesuffix(":0")
        elif node.op != "Identity":
            return None
    for name, source in read.items():
        if name in writes:
            writes[source] = writes[name]
    return result, arrays, writes


def _root(nodes: dict[str, Any], tensor: str) -> str:
    """The node that a value comes from, past those that pass it on."""
    name = node_of(tensor)
    while name in nodes and nodes[name].op == "Identity" and nodes[name].input:
        name = node_of(nodes[name].input[0])
    return name


def _constant(tf: Any, graph_def: Any, name: str, value: Any, arrays: dict[str, Weights]) -> None:
    """A node with the value of a variable or a tensor; a large one is a placeholder, and the value is fetched late."""
    dtype = tf.as_dtype(value.dtype)
    if value.shape.num_elements() * dtype.size >= LARGE_BYTES:
        node = graph_def.node.add(name=name, op="Placeholder")
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(value.shape.as_proto())
        arrays[name] = Weights(dtype.as_datatype_enum, value.shape.as_list(), lambda: value.numpy())
        return
    tensor = tf.make_tensor_proto(value.numpy())
    node = graph_def.node.add(name=name, op="Const")
    node.attr["dtype"].type = tensor.dtype
    node.attr["value"].tensor.CopyFrom(tensor)


def _check(graph_def: Any, outputs: list[str], writes: dict[str, str]) -> None:
    """Whether the outputs are a function of the input alone.

    Raises:
        Refused: every reason why they are not.
    """
    needed = ancestors(graph_def, outputs)
    nodes = [node for node in graph_def.node if node.name in needed]
    problems = list(_problems(nodes, needed, writes))
    if problems:
        raise Refused("unsupported", " ".join(problems))


def _problems(nodes: list[Any], needed: set[str], writes: dict[str, str]) -> Iterator[str]:
    random = [node.name for node in nodes if RANDOM.match(node.op)]
    if random:
        yield (
            f"it draws random numbers ({_some(random)}), so its answers differ from call to call; layers that augment "
            "images were exported as in training. Export the network without them (the layers behind them), or bring "
            "Keras's own file (model.save), where they stand still."
        )
    training = [node.name for node in nodes if node.op.startswith("FusedBatchNorm") and node.attr["is_training"].b]
    training += sorted({name for name in writes.values() if MOVING.search(name)})
    if training:
        yield (
            f"batch norm runs in training mode ({_some(training)}): an answer would depend on the other images of its "
            "batch. Export the network for inference (training=False), or bring Keras's own file (model.save)."
        )
    moving = sorted(
        {name for node, name in writes.items() if node in needed and not MOVING.search(name)} if not random else ()
    )
    if moving:
        yield (
            f"it changes its variables while it computes and reads them again ({_some(moving)}), so its answers differ "
            "from call to call. Export the network for inference."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    shown = [name.removeprefix("StatefulPartitionedCall/") for name in names[:MAX_SHOWN]]
    return f"{', '.join(shown)}{more}"
