"""What the importer does with graphs before TensorFlow computes anything, on stand-ins for its messages."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from accelform.sources.importer.graphs import ancestors, descendants, describe, node_of, silence
from accelform.sources.importer.job import Refused
from accelform.sources.importer.loaders import natural


def graph_def(**nodes: tuple[str, ...]) -> SimpleNamespace:
    """name -> (operator, inputs...)."""
    return SimpleNamespace(
        node=[
            SimpleNamespace(name=name, op=row[0], input=list(row[1:]), attr={"dtypes": 1})
            for name, row in nodes.items()
        ],
        library=SimpleNamespace(function=[]),
    )


GRAPH = graph_def(
    image=("Placeholder",),
    merge=("Merge", "image:0", "next:0"),
    next=("NextIteration", "merge"),
    net=("Conv2D", "merge:0", "weights"),
    weights=("Const",),
    other=("Relu", "image"),
    save=("SaveV2", "net:0", "weights", "^other"),
)


def test_walks_end_in_circles_too() -> None:
    """TensorFlow 1's loops are circles."""
    assert ancestors(GRAPH, ["net:0"]) == {"net", "merge", "next", "image", "weights"}
    assert ancestors(GRAPH, ["net:0"], stop=["merge"]) == {"net", "merge", "weights"}
    assert descendants(GRAPH, "image") == {"image", "merge", "next", "net", "other", "save"}


def test_nothing_is_saved() -> None:
    """Operators that write files become ones that do nothing but wait, so that the graph stays whole."""
    graph = graph_def(net=("Relu",), save=("SaveV2", "net:0", "argument", "^net"), after=("Identity", "net", "^save"))

    assert silence(graph) == 1

    save = graph.node[1]
    assert (save.op, save.input, save.attr) == ("NoOp", ["^net"], {})
    assert graph.node[2].input == ["net", "^save"]


def test_a_missing_tensor() -> None:
    """Tensors whose names are alike are offered."""

    def missing(name: str) -> None:
        raise KeyError(name)

    operations = [SimpleNamespace(name=name, outputs=[1]) for name in ("a/Softmax", "b/Relu")]
    graph = SimpleNamespace(get_tensor_by_name=missing, get_operations=lambda: operations)

    with pytest.raises(Refused, match=r"no output tensor Softmax; it has for example a/Softmax:0\."):
        describe(graph, ["Softmax"], {}, "output")


def test_names() -> None:
    """Tensor names lead to nodes, and twelve outputs stay in order."""
    assert [node_of(name) for name in ("a/b:0", "^a/b", "a/b")] == ["a/b"] * 3
    keys = [f"out_{index}" for index in range(12)]
    assert sorted(sorted(keys), key=natural) == keys
