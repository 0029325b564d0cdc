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


def open_probe(built: BuiltModel, values: Mapping[str, str], *, threads: int = 0) -> Probe:
    """Opens `built` with the additional outputs `values`, and leaves it as it was.

    `threads` 0 leaves their number to onnxruntime.
    """
    import onnx

    graph = built.proto.graph
    own = tuple(output.name for output in graph.output)
    known = {*own, *(value.name for value in graph.input)}
    for value in dict.fromkeys(values.values()):
        if value not in known:
            graph.output.append(onnx.helper.make_empty_tensor_value_info(value))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        content = built.proto.SerializeToString()
    finally:
        del graph.output[len(own) :]
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Probe(session=session, outputs=own, values=dict(values))
