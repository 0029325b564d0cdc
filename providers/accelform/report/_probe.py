"""A served graph opened so that one can look inside: every layer's output beside the graph's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

from accelform.report.feeding import Arrays, Input

if TYPE_CHECKING:
    from accelform.conversion.model import BuiltModel


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One graph in a session.

    Attributes:
        outputs: the graph's own, in order
        values: looked at inside: key (a layer's or a tensor's name) -> value name
    """

    session: onnxruntime.InferenceSession
    outputs: tuple[str, ...]
    values: Mapping[str, str]

    @property
    def inputs(self) -> Sequence[Input]:
        found: Sequence[Input] = self.session.get_inputs()
        return found

    def run(self, arrays: Arrays) -> tuple[list[np.ndarray[Any, Any]], dict[str, np.ndarray[Any, Any]]]:
        """The graph's outputs, and the values inside by key."""
        names = list(dict.fromkeys((*self.outputs, *self.values.values())))
        found = dict(zip(names, self.session.run(names, arrays), strict=True))
        return [found[name] for name in self.outputs], {key: found[value] for key, value in self.values.items()}


@dataclass(frozen=True, kw_only=True)
class Content:
    """A graph as bytes: with values of its inside as additional outputs."""

    model: bytes
    outputs: tuple[str, ...]
    values: Mapping[str, str]

    def opened(self, *, threads: int = 0) -> Probe:
        """`threads` 0 leaves their number to onnxruntime."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        return Probe(session=session, outputs=self.outputs, values=self.values)


def content_of(built: BuiltModel, values: Mapping[str, str]) -> Content:
    """`built`, which stays as it was and is not needed any more, with the additional outputs `values`."""
    import onnx

    graph = built.proto.graph
    own = tuple(output.name for output in graph.output)
    known = {*own, *(value.name for value in graph.input)}
    for value in dict.fromkeys(values.values()):
        if value not in known:
            graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
    try:
        return Content(model=built.proto.SerializeToString(), outputs=own, values=dict(values))
    finally:
        del graph.output[len(own) :]
