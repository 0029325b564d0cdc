"""The process that tries a network out: reads a job on standard input, writes a verdict, and nothing else.

It loads with the session that a server opens, so what would end a server's start ends here at preview.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from accelform.conversion.converter import build, number_format_of
from accelform.conversion.split import TensorInfo
from accelform.conversion.work import multiply_accumulates
from accelform.errors import NotAModel, UnsupportedModel, UserError
from accelform.sources.onnx_files import load_onnx
from accelform.sources.trial.answers import TOLERANCE, Answers, Array, difference, nudged, trial_inputs
from accelform.sources.trial.ask import WORK
from accelform.sources.trial.held import Held, stub
from accelform.topology import split_onnx
from accelform.topology.graph import Graph, foreign_types, read_graph
from accelform.topology.image import value_info
from accelform_runtime.device.session import onnx_type, open_session
from accelform_runtime.errors import AccelRuntimeError
from accelform_runtime.protocol import tensors

SHOWN = 400
_NOT_THERE = onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented

Run = Callable[[Array], Answers]
Asked = tuple[Array, Answers | None, Answers | None]
"""An input, the file's answers to it and to almost the same input; None where the file itself can't be run."""


def main() -> None:
    """Reads the job and writes its verdict."""
    job = json.loads(sys.stdin.buffer.read())
    _limit(int(job["memory_bytes"]))
    try:
        verdict: dict[str, Any] = examine(job)
    except UserError as error:
        verdict = {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        verdict = {"error": UnsupportedModel.__name__, "message": "it needs more memory than an import may take"}
    Path(job["verdict"]).write_text(json.dumps(verdict), encoding="utf-8")


def examine(job: dict[str, Any]) -> dict[str, Any]:
    """Of a network that may be deployed: what is worth telling, and its multiply-accumulates.

    Raises:
        UserError: why it may not.
    """
    path, name = Path(job["path"]), str(job["name"])
    if job["checked"]:
        _check(path, name)
    ends: dict[str, Any] = {"input_tensors": job["inputs"], "output_tensors": job["outputs"]}
    # The file's own answers come first, and its session goes: large networks should not be in memory twice.
    wire, asked, weights, notes = _own_answers(path, ends, name)
    ours, work = _served(path, ends, wire, name)
    for value, expected, shaken in asked:
        found = ours(value)
        if expected is None or shaken is None:
            continue
        if wrong := difference(expected, found, shaken, weights=weights):
            raise UnsupportedModel(
                f"Accelform would answer otherwise than onnxruntime does with {name}: {wrong} on a trial input. The "
                "network has something that is read in two ways; export it with another opset or exporter"
            )
    return {"notes": notes, WORK: work}


def _own_answers(path: Path, ends: Mapping[str, Any], name: str) -> tuple[TensorInfo, list[Asked], str, list[str]]:
    """The tensor that the wire carries, what the file answers, the type of its weights, and what is worth telling."""
    model = load_onnx(path)
    graph = read_graph(model, **ends)
    (wire,) = split_onnx(model, **ends, with_weights=False).inputs
    weights = "float16" if "16" in foreign_types(graph) else "float32"
    held = Held()
    inputs, outputs = graph.inputs, graph.outputs
    part = _part(graph, held) if any(ends.values()) else None
    del model, graph
    try:
        theirs = _original(_readable(path) if part is None else part, held, inputs[0], outputs)
    except _NOT_THERE as error:
        notes = [f"onnxruntime can't run the file itself, so answers were not compared: {_words(error)}"]
        return wire, _asked(wire, None, weights=weights, name=name), weights, notes
    except Exception as error:
        raise NotAModel(f"onnxruntime can't load {name}: {_words(error)}. Export the model again.") from error
    return wire, _asked(wire, theirs, weights=weights, name=name), weights, []


def _check(path: Path, name: str) -> None:
    """Raises: NotAModel: what onnx's checker has against the file."""
    try:
        onnx.checker.check_model(_readable(path), full_check=True)
    except Exception as error:
        raise NotAModel(f"onnx's checker refuses {name}: {_words(error)}. Export the model again.") from error


def _readable(path: Path) -> str | bytes:
    """The path, for libraries that read weights beside it; the whole file where they can't read the path's name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return bytes(load_onnx(path).SerializeToString())
    return str(path)


def _original(content: str | bytes | onnx.ModelProto, held: Held, key: str, names: Sequence[str]) -> Run:
    """The user's file in onnxruntime, or the part of it between the named tensors, whose weights are in `held`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_prepacking", "1")
    if isinstance(content, onnx.ModelProto):
        arrays = held.arrays(content)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        options.add_external_initializers(list(arrays), values)
        content = content.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda value: dict(zip(names, session.run(list(names), {key: value}), strict=True))


def _part(graph: Graph, held: Held | None) -> onnx.ModelProto:
    """The graph as a model of its own, whose large weights are in `held`, or left out."""
    read = {name for node in graph.nodes for name in node.inputs} | set(graph.outputs)
    outputs = [
        value_info(name, graph.types[name]) if name in graph.types else onnx.helper.make_empty_tensor_value_info(name)
        for name in graph.outputs
    ]
    constants = [tensor for name, tensor in graph.initializers.items() if name in read and name not in graph.inputs]
    part = onnx.helper.make_graph(
        [node.proto for node in graph.nodes],
        graph.name or "part",
        [value_info(name, graph.types[name]) for name in graph.inputs],
        outputs,
        [stub(tensor) if held is None else held.taken(tensor) for tensor in constants],
    )
    imports = [onnx.helper.make_opsetid("", graph.opset)]
    return onnx.helper.make_model(part, opset_imports=imports, ir_version=10)


def _asked(wire: TensorInfo, theirs: Run | None, *, weights: str, name: str) -> list[Asked]:
    """Inputs, with the file's answers to them and to almost the same; None where there are none.

    Raises:
        UnsupportedModel: it fails on them, or answers in a way that no server could repeat.
    """
    found: list[Asked] = []
    for value in trial_inputs(wire.shape, tensors.numpy_dtype(wire.dtype)):
        if theirs is None:
            found.append((value, None, None))
            continue
        value, expected = _plain_answer(theirs, value, name)
        nearly = nudged(value[:1], TOLERANCE[weights][1])
        alone = theirs(value[:1]) if len(value) > 1 else expected
        shaken = theirs(nearly)
        if not found:
            _check_steady(theirs, value[:1], alone, name=name)
        if len(value) > 1 and difference(alone, _first(expected), shaken, weights=weights):
            raise UnsupportedModel(
                f"what {name} answers to an image depends on the other images of its batch (it computes along the "
                "batch axis), and the FPGA takes one image at a time; change that, or export it with a batch of 1"
            )
        found.append((value[:1], alone, shaken))
    return found


def _plain_answer(theirs: Run, value: Array, name: str) -> tuple[Array, Answers]:
    """The file's own answers to a batch, or to one of it where the batch is said to be open and is not."""
    for batch in (value, value[:1]):
        try:
            return batch, theirs(batch)
        except Exception as error:
            if len(batch) == 1:
                raise UnsupportedModel(
                    f"onnxruntime loads {name} and fails on a plain input of shape {list(batch.shape)}: {_words(error)}"
                ) from error
    raise AssertionError("a batch of one ends the loop")


def _check_steady(theirs: Run, value: Array, expected: Answers, *, name: str) -> None:
    """Raises: UnsupportedModel: the file itself answers otherwise when it is asked again."""
    if any(not _same(expected[key], again) for key, again in theirs(value).items()):
        raise UnsupportedModel(
            f"the answers of {name} differ from call to call: it draws random numbers, as dropout does in training; "
            "export the network for inference"
        )


def _first(answers: Answers) -> Answers:
    """Of a batch; outputs without a batch axis stay as they are."""
    return {key: values[:1] if np.ndim(values) else values for key, values in answers.items()}


def _same(left: Array, right: Array) -> bool:
    if not isinstance(left, np.ndarray) or not isinstance(right, np.ndarray):
        return True
    if left.shape != right.shape:
        return False
    return bool(np.allclose(left, right, rtol=1e-3, atol=1e-6, equal_nan=True)) if left.dtype.kind == "f" else True


def _served(path: Path, ends: Mapping[str, Any], wire: TensorInfo, name: str) -> tuple[Run, int | None]:
    """The network in float32 as a server would load it, its parts each for itself, as the integer engine does, and the
    multiply-accumulates of the whole file."""
    held = Held()
    declared, whole, parts, work = _built(path, ends, held, name)
    try:
        for what, part in parts.items():
            open_session(part.SerializeToString(), 0, f"{what} of {name}", arrays=held.arrays(part))
        session = open_session(whole.SerializeToString(), 0, name, arrays=held.arrays(whole))
    except AccelRuntimeError as error:
        raise UnsupportedModel(f"{_words(error)}. A server could not start with it; export the model again") from error
    for output in session.get_outputs():
        if (dtype := declared[output.name]) == "DT_STRING" or not tensors.is_numeric(dtype):
            raise UnsupportedModel(f"the output {output.name} is {dtype}, which is no type of numbers: name others")
        if output.type != onnx_type(str(tensors.numpy_dtype(dtype))):
            raise UnsupportedModel(
                f"the output {output.name} is {output.type}, not {dtype}: a service answers with tensors of numbers "
                "whose type the file tells; name other output tensors, or export the model with shapes"
            )
    names = [output.name for output in session.get_outputs()]
    return lambda value: _answered(session, wire.name, names, value, name), work


def _built(
    path: Path, ends: Mapping[str, Any], held: Held, name: str
) -> tuple[Mapping[str, str], onnx.ModelProto, Mapping[str, onnx.ModelProto], int | None]:
    """Types of the outputs, the whole served graph, its parts by what they are called, and the multiply-accumulates.

    The large weights of the graphs are in `held`, and nothing else of the file stays in memory.
    """
    model = load_onnx(path)
    graph = read_graph(model, **ends)
    work = multiply_accumulates(_part(graph, None).graph, graph.opset)
    del graph
    split = split_onnx(model, **ends)
    del model
    front, head = (part and held.light(part) for part in (split.front, split.head))
    split = replace(split, front=front, head=head)
    built = build(split, name=name, fmt=number_format_of("float32"))
    declared = {tensor.name: tensor.dtype for tensor in split.outputs}
    del split
    parts = {"the part before the FPGA": built.front, "the part behind the FPGA": built.head}
    light = {what: held.light_model(part) for what, part in parts.items() if part is not None}
    proto = built.proto
    del built
    return declared, held.light_model(proto), light, work


def _answered(
    session: onnxruntime.InferenceSession, key: str, names: Sequence[str], value: Array, name: str
) -> Answers:
    try:
        return dict(zip(names, session.run(names, {key: value}), strict=True))
    except Exception as error:
        raise UnsupportedModel(
            f"a server loads {name} and fails on a plain input of shape {list(value.shape)}: {_words(error)}. Export "
            "the model with fixed sizes"
        ) from error


def _words(error: Exception) -> str:
    """The message without the places in libraries' sources that it comes from."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[ONNXRuntimeError\] : -?\d+ : \w+ : ", "", text)
    text = re.sub(r"Load model from .*? failed:", "", text)
    text = re.sub(r"(/[\w.+-]+)+\.(cc|h|cpp):\d+ ?", "", text)
    return text.strip().rstrip(".")[:SHOWN]


def _limit(memory_bytes: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    except (OSError, ValueError):
        return


if __name__ == "__main__":
    main()
