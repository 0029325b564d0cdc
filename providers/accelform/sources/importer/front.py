"""Graphs that begin with encoded images: where the decoding ends, and what it makes of test images."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .graphs import Loaded, ancestors, descendants, node_of, with_index
from .job import FRONT_FILE, IMAGES_FOLDER, Refused, Tensor

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "FusedConv2DBiasActivation", "_FusedConv2D")
PASSED_BACK = ("Identity", "Pad", "PadV2", "SpaceToBatchND", "Transpose", "StopGradient")


def begins_with_images(loaded: Loaded) -> bool:
    """Whether the one input is strings."""
    strings = [tensor for tensor in loaded.inputs if tensor.dtype == "DT_STRING"]
    if strings and len(loaded.inputs) > 1:
        raise Refused("unsupported", "the graph takes strings and other inputs; name one input tensor of numbers.")
    return bool(strings)


def image_tensor(tf: Any, loaded: Loaded) -> Tensor:
    """The tensor between decoding and the first convolution: float32 [batch, height, width, 3].

    Raises:
        Refused: there is no such tensor, or images reach the network on several ways.
    """
    nodes = {node.name: node for node in loaded.graph_def.node}
    start = node_of(loaded.inputs[0].name)
    fed = descendants(loaded.graph_def, start)
    needed = ancestors(loaded.graph_def, [tensor.name for tensor in loaded.outputs]) & fed
    first = next((node for node in _nearest_first(nodes, start, needed) if node.op in CONVOLUTIONS), None)
    if first is None:
        raise Refused("unsupported", f"{loaded.inputs[0].name} feeds no convolution; there is no network to convert.")
    name = with_index(first.input[0])
    while nodes[node_of(name)].op in PASSED_BACK:
        name = with_index(nodes[node_of(name)].input[0])
    if node_of(name) not in fed or node_of(name) == start:
        raise Refused("unsupported", f"the first convolution, {first.name}, does not read {loaded.inputs[0].name}.")
    around = ancestors(loaded.graph_def, [tensor.name for tensor in loaded.outputs], stop=[node_of(name)])
    if start in around:
        raise Refused(
            "unsupported",
            f"the network reads {loaded.inputs[0].name} also beside {name}; only decoding and preprocessing may stand "
            "before the first convolution.",
        )
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(_before(tf, loaded, name), name="")
        tensor = graph.get_tensor_by_name(name)
        shape = [-1, -1, -1, 3] if tensor.shape.rank is None else [-1 if n is None else n for n in tensor.shape]
        kind = tensor.dtype.name
    if len(shape) != 4 or kind != "float32":
        raise Refused("unsupported", f"{name}, what the first convolution reads, is {kind} {shape}; no float32 images.")
    return Tensor(name, "", "DT_FLOAT", shape)


def _nearest_first(nodes: dict[str, Any], start: str, needed: set[str]) -> Iterator[Any]:
    """The nodes that `start` feeds, by distance; TensorFlow 1's loops are circles in the graph."""
    consumers: dict[str, list[str]] = {}
    for name in sorted(needed):
        for source in nodes[name].input:
            consumers.setdefault(node_of(source), []).append(name)
    pending, seen = deque([start]), {start}
    while pending:
        name = pending.popleft()
        yield nodes[name]
        for consumer in consumers.get(name, ()):
            if consumer not in seen:
                seen.add(consumer)
                pending.append(consumer)


def _before(tf: Any, loaded: Loaded, tensor: str) -> Any:
    """The graph up to the tensor."""
    needed = ancestors(loaded.graph_def, [tensor])
    result = tf.compat.v1.GraphDef()
    result.versions.CopyFrom(loaded.graph_def.versions)
    result.library.CopyFrom(loaded.graph_def.library)
    result.node.extend(node for node in loaded.graph_def.node if node.name in needed)
    return result


def run_front(tf: Any, loaded: Loaded, tensor: Tensor, folder: Path) -> list[int]:
    """Runs the front on each test image and stores what comes out; returns its height and width.

    Raises:
        Refused: it fails on an image, or gives images of different sizes.
    """
    files = sorted((folder / IMAGES_FOLDER).iterdir())
    results: dict[str, np.ndarray[Any, Any]] = {}
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.import_graph_def(_before(tf, loaded, tensor.name), name="")
        placeholder = graph.get_tensor_by_name(loaded.inputs[0].name)
        if placeholder.shape.rank not in (None, 1):
            raise Refused("unsupported", f"{placeholder.name} has shape {placeholder.shape}; images come as a list.")
        for file in files:
            try:
                value = session.run(tensor.name, {placeholder.name: np.array([file.read_bytes()], dtype=object)})
            except tf.errors.OpError as error:
                said = " ".join(str(error.message).split())[:200]
                raise Refused("unsupported", f"what stands before the network fails on a PNG image: {said}") from error
            results[file.stem] = np.asarray(value)
    shapes = {value.shape for value in results.values()}
    if len(shapes) != 1 or (shape := next(iter(shapes)))[0] != 1 or shape[3] != 3:
        raise Refused("unsupported", f"what stands before the network gives {sorted(shapes)}; not one size of image.")
    np.savez(folder / FRONT_FILE, **results)  # type: ignore[arg-type]
    return [int(shape[1]), int(shape[2])]
