"""What the importer does with graphs before TensorFlow computes anything, on stand-ins for its messages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from accelform.sources.importer import translate
from accelform.sources.importer.freezing import natural
from accelform.sources.importer.graphs import Naming, Weights, ancestors, descendants, describe, node_of, silence
from accelform.sources.importer.job import Job, Refused
from accelform.sources.importer.loaders import _signature, _tagged


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

    with pytest.raises(Refused, match=r"no input tensor x and no output tensor Softmax; .* a/Softmax:0\."):
        describe(graph, ["x"], ["Softmax"], Naming(listed="in its signature s the outputs probabilities"))


@pytest.mark.parametrize(
    ("tags", "wanted", "found"),
    [
        ([["serve"]], None, 0),
        ([["serve", "gpu"], ["serve"]], None, 1),
        ([["train"], ["gpu", "serve"]], None, 1),
        ([["serve"], ["serve", "tpu"]], ["tpu", "serve"], 1),
    ],
)
def test_the_graph_for_serving(tags: list[list[str]], wanted: list[str] | None, found: int) -> None:
    """The one with the tag alone, or the only one that has it, or the one that was asked for."""
    metas = [SimpleNamespace(meta_info_def=SimpleNamespace(tags=row)) for row in tags]

    assert _tagged(metas, job(tags=wanted)) is metas[found]


@pytest.mark.parametrize(
    ("tags", "wanted", "said"),
    [
        ([["train"]], None, "no graph for serving .*it has ..train.."),
        ([["gpu", "serve"], ["serve", "tpu"]], None, "several graphs for serving"),
        ([["serve"]], ["gpu"], "no graph with the tags"),
    ],
)
def test_no_graph_is_guessed(tags: list[list[str]], wanted: list[str] | None, said: str) -> None:
    metas = [SimpleNamespace(meta_info_def=SimpleNamespace(tags=row)) for row in tags]

    with pytest.raises(Refused, match=said):
        _tagged(metas, job(tags=wanted))


def test_the_signature() -> None:
    """The one that was asked for, the usual one, the only one; with tensors named none is needed."""
    assert _signature({"serving_default": 1, "b": 2}, job()) == "serving_default"
    assert _signature({"serving_default": 1, "b": 2}, job(signature="b")) == "b"
    assert _signature({"b": 2}, job()) == "b"
    assert _signature({"a": 1, "b": 2}, job(input_tensors=["x:0"], output_tensors=["y:0"])) is None
    with pytest.raises(Refused, match="has the signatures a, b, and none is called serving_default"):
        _signature({"a": 1, "b": 2}, job(output_tensors=["y:0"]))
    with pytest.raises(Refused, match="no signature c; it has a, b"):
        _signature({"a": 1, "b": 2}, job(signature="c"))


def job(**settings: Any) -> Job:
    usual: dict[str, Any] = {"input_tensors": None, "output_tensors": None}
    return Job(kind="saved_model", path="m", memory_bytes=1, **usual | settings)


def test_a_model_is_written_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other, into one message that onnx reads as if it had been written whole."""
    arrays = {name: np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32) for name in ("w:0", "v:0")}
    monkeypatch.setattr(translate, "_numpy_type", lambda dtype: np.dtype(np.float32))
    nodes = [helper.make_node("MatMul", ["x", "w:0"], ["y"]), helper.make_node("Add", ["y", "v:0"], ["Identity:0"])]
    ends = [helper.make_tensor_value_info(name, 1, [40, 40]) for name in ("x", "Identity:0")]
    model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:]))
    weights = {name: Weights(1, list(array.shape), partial(np.asarray, array)) for name, array in arrays.items()}

    given = translate.rename(model, {"Identity:0": "kinds", "x": "y"})
    written = translate.write_model(model, weights, tmp_path / "model.onnx")

    read = onnx.load(tmp_path / "model.onnx")
    assert (given, weights) == ({"Identity:0": "kinds"}, {})
    assert written == (tmp_path / "model.onnx").stat().st_size
    assert read.graph.output[0].name == read.graph.node[1].output[0] == "kinds"
    assert all(np.array_equal(numpy_helper.to_array(it), arrays[it.name]) for it in read.graph.initializer)
    assert [it.name for it in read.graph.initializer] == list(arrays)


def test_names() -> None:
    """Tensor names lead to nodes, and twelve outputs stay in order."""
    assert [node_of(name) for name in ("a/b:0", "^a/b", "a/b")] == ["a/b"] * 3
    keys = [f"out_{index}" for index in range(12)]
    assert sorted(sorted(keys), key=natural) == keys
