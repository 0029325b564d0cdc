"""Writes ONNX graphs: nodes in order, constants once, names that a reader can follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

OPSET = 24
"""The first opset whose Cast rounds to FLOAT8E8M0 (which holds exactly the powers of two) downwards."""

IR_VERSION = 11
DOMAIN = "accelform"


class GraphWriter:
    """Collects nodes and constants. Value names are `<scope>/<op>_<n>`, counted per scope, unless one is given."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._initializers: dict[str, onnx.TensorProto | npt.NDArray[Any]] = {}
        self._counts: dict[str, int] = {}
        self._values: set[str] = set()
        self._domains: set[str] = {DOMAIN}
        self.scope = ""

    def op(self, op_type: str, *inputs: str, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Adds a node with one output and returns that value's name (`name` if given)."""
        return self.ops(op_type, *inputs, names=(name or self._fresh(op_type),), domain=domain, **attributes)[0]

    def ops(
        self,
        op_type: str,
        *inputs: str,
        names: Sequence[str] = (),
        outputs: int = 1,
        domain: str = "",
        **attributes: Any,
    ) -> tuple[str, ...]:
        """Adds a node with several outputs and returns their names."""
        names = tuple(names) or tuple(self._fresh(op_type) for _ in range(outputs))
        self._add(helper.make_node(op_type, inputs, names, name=names[0], domain=domain, **attributes))
        return names

    def constant(self, array: Any, *, name: str = "") -> str:
        """The name of a constant; small unnamed ones with equal content are stored once."""
        array = np.asarray(array)
        if not name:
            text = np.array2string(array, separator=",", max_line_width=10**6, threshold=10**6)
            name = f"constant/{array.dtype.name}/{text.replace(' ', '')}"
        self._initializers.setdefault(name, array)
        return name

    def tensor(self, tensor: onnx.TensorProto) -> str:
        """The name of a constant that NumPy has no type for."""
        self._initializers.setdefault(tensor.name, tensor)
        return tensor.name

    @property
    def names(self) -> frozenset[str]:
        """Of all values and constants so far."""
        return frozenset(self._values | self._initializers.keys())

    def include(self, graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
        """Adds another graph's nodes and constants as they are, and returns its inputs."""
        for node in graph.node:
            self._add(node)
        for tensor in graph.initializer:
            self.tensor(tensor)
        return [value for value in graph.input if value.name not in self._initializers]

    def integers(self, *values: int) -> str:
        """The name of a constant vector of int64: a shape, axes, or lengths."""
        return self.constant(np.array(values, np.int64))

    def model(
        self,
        *,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        functions: Sequence[onnx.FunctionProto],
        documentation: str,
    ) -> onnx.ModelProto:
        """The finished model; call it once."""
        graph = helper.make_graph(self._nodes, name, inputs, outputs)
        graph.doc_string = documentation
        others = sorted(self._domains - {"", "ai.onnx"})
        imports = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in others)]
        model = helper.make_model(
            graph, opset_imports=imports, functions=list(functions), ir_version=IR_VERSION, producer_name="accelform"
        )
        # Moved one by one: a protocol buffer copies what is added to it, and VGG's constants are half a gigabyte.
        for constant in tuple(self._initializers):
            value = self._initializers.pop(constant)
            if isinstance(value, onnx.TensorProto):
                model.graph.initializer.append(value)
                continue
            dims, kind, content = value.shape, helper.np_dtype_to_tensor_dtype(value.dtype), value.tobytes()
            del value
            model.graph.initializer.add(dims=dims, data_type=kind, name=constant, raw_data=content)
        return model

    def _add(self, node: onnx.NodeProto) -> None:
        if taken := [value for value in node.output if value in self._values]:
            raise ValueError(f"the graph already has a value {taken[0]!r}")
        self._values.update(value for value in node.output if value)
        self._domains.add(node.domain)
        self._nodes.append(node)

    def _fresh(self, op_type: str) -> str:
        prefix = f"{self.scope}/{op_type}" if self.scope else op_type
        self._counts[prefix] = self._counts.get(prefix, 0) + 1
        return f"{prefix}_{self._counts[prefix]}"


def tensor_value(name: str, element_type: int, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    """A graph input's or output's type; a dimension that varies is a name."""
    return helper.make_tensor_value_info(name, element_type, list(shape))


FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
FLOAT8E8M0 = TensorProto.FLOAT8E8M0
DOUBLE = TensorProto.DOUBLE
INT64 = TensorProto.INT64
UINT8 = TensorProto.UINT8
