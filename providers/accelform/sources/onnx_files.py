"""Reads ONNX files: sizes first, weights in other files only from inside the model's own folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from accelform.errors import InvalidWeights, ModelSourceMissing, UnsafeModel, UserError, WeightsUnreadable
from accelform.sources.files import is_plain_name
from accelform.sources.wire import BYTES, Buffer, Malformed, Span, fields, mapped, messages, text

if TYPE_CHECKING:
    import onnx

MAX_TOTAL_BYTES = 2 << 30
MAX_TENSORS = 50_000
MAX_DEPTH = 20
MAX_SHOWN = 8
ADVICE = "Save the model again with onnx.save_model, everything in one file or one folder."

_GRAPH, _INITIALIZER, _NODE, _ATTRIBUTE, _TENSOR, _TENSORS, _SUBGRAPH, _SUBGRAPHS = 7, 5, 1, 5, 5, 10, 6, 11
_EXTERNAL, _KEY, _VALUE = 13, 1, 2


def external_files(path: Path) -> tuple[str, ...]:
    """Names, relative to the file's folder, of the files that hold some of its weights; nothing is loaded.

    Raises:
        UnsafeModel: one of them is absolute, leads outside, or is a link.
        ModelSourceMissing: one is missing.
        WeightsUnreadable: the file is damaged, nested absurdly deep, or larger than 2 GiB with its weights.
    """
    try:
        with mapped(path) as content:
            names = sorted(set(_locations(content)))
    except Malformed as error:
        raise WeightsUnreadable(
            f"{path.name} can't be read: {error}. It is damaged or cut off; copy it again."
        ) from error
    problems: list[UserError] = []
    for name in names:
        try:
            _check_place(path, name)
        except (UnsafeModel, ModelSourceMissing) as error:
            problems.append(error)
    if problems:
        shown = " ".join(str(problem) for problem in problems[:MAX_SHOWN])
        raise type(problems[0])(shown)
    total = path.stat().st_size + sum((path.parent / name).stat().st_size for name in names)
    if total > MAX_TOTAL_BYTES:
        raise WeightsUnreadable(f"{path.name} has {total / 2**30:.1f} GiB with its weights; a model may have 2.")
    return tuple(names)


def load_onnx(path: Path) -> onnx.ModelProto:
    """The whole model in memory, weights included.

    Raises:
        UnsafeModel, ModelSourceMissing, WeightsUnreadable: as `external_files`, or data that is too short or too long.
        InvalidWeights: a tensor's bytes don't fit its shape.
    """
    import onnx
    from google.protobuf.message import DecodeError

    external_files(path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except (DecodeError, RecursionError, ValueError) as error:
        raise WeightsUnreadable(f"{path.name} can't be read as ONNX: {error}. Export it again.") from error
    if broken := next((name for name in _names(model.graph) if not isinstance(name, str)), None):
        raise WeightsUnreadable(f"{path.name} has a name that is no text, {broken!r}: it is damaged; copy it again.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            _take_in(tensor, path)
        elif tensor.HasField("raw_data"):
            _check_length(tensor, len(tensor.raw_data), path)
    return model


def _locations(content: Buffer) -> Iterator[str]:
    pending: list[tuple[Span, int]] = [(graph, 0) for graph in messages(content, None, _GRAPH)]
    while pending:
        graph, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise Malformed(f"graphs are nested more than {MAX_DEPTH} deep")
        tensors = list(messages(content, graph, _INITIALIZER))
        for node in messages(content, graph, _NODE):
            for attribute in messages(content, node, _ATTRIBUTE):
                for number, kind, where in fields(content, attribute):
                    if kind == BYTES and number in (_TENSOR, _TENSORS):
                        tensors.append(where)
                    elif kind == BYTES and number in (_SUBGRAPH, _SUBGRAPHS):
                        pending.append((where, depth + 1))
        for tensor in tensors:
            for entry in messages(content, tensor, _EXTERNAL):
                pair = {number: text(content, where) for number, kind, where in fields(content, entry) if kind == BYTES}
                if pair.get(_KEY) == "location":
                    yield pair.get(_VALUE, "")


def _check_place(path: Path, name: str) -> None:
    folder = path.parent
    if not is_plain_name(name):
        raise UnsafeModel(f"{path.name} wants weights from {name!r}, outside its folder; it was not loaded. {ADVICE}")
    target = folder / name
    steps = [folder.joinpath(*target.relative_to(folder).parts[: count + 1]) for count in range(len(Path(name).parts))]
    if any(step.is_symlink() for step in steps):
        raise UnsafeModel(f"{path.name} wants weights from {name!r}, which is a link. Put the file itself there.")
    if not target.exists():
        raise ModelSourceMissing(f"{path.name} has weights in {name!r}, which is missing beside it. {ADVICE}")
    if not target.is_file():
        raise ModelSourceMissing(f"{path.name} has weights in {name!r}, which is no file. {ADVICE}")


def _names(graph: onnx.GraphProto) -> Iterator[object]:
    """Of nodes, values and arrays; protobuf hands over what is no UTF-8 as bytes."""
    yield graph.name
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        yield value.name
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    pending = [graph]
    while pending:
        here = pending.pop()
        yield from here.initializer
        for node in here.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                if attribute.HasField("g"):
                    pending.append(attribute.g)
                pending.extend(attribute.graphs)


def _take_in(tensor: onnx.TensorProto, path: Path) -> None:
    import onnx

    settings = {entry.key: entry.value for entry in tensor.external_data}
    target = path.parent / settings.get("location", "")
    try:
        offset, size = int(settings.get("offset", 0)), target.stat().st_size
        length = int(settings.get("length", size - offset))
    except ValueError as error:
        raise WeightsUnreadable(f"{tensor.name} in {path.name}: offset or length is no number. {ADVICE}") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise WeightsUnreadable(
            f"{tensor.name} in {path.name} should be {length} bytes at {offset} of {target.name}, which has {size}. "
            f"{ADVICE}"
        )
    _check_length(tensor, length, path)
    descriptor = os.open(target, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(offset)
        tensor.raw_data = stream.read(length)
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.DEFAULT


def _check_length(tensor: onnx.TensorProto, length: int, path: Path) -> None:
    import onnx

    if any(side < 0 for side in tensor.dims):
        raise InvalidWeights(f"{tensor.name} in {path.name} has shape {list(tensor.dims)}. Export the model again.")
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        raise InvalidWeights(f"{tensor.name} in {path.name} has the unknown type {tensor.data_type}.") from None
    if tensor.data_type < onnx.TensorProto.UINT4 and prod(tensor.dims) * item != length:
        raise InvalidWeights(
            f"{tensor.name} in {path.name} has shape {list(tensor.dims)}, which takes {prod(tensor.dims) * item} "
            f"bytes; {length} are there. The file is damaged or cut off; export the model again."
        )
