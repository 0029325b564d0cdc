"""What is known of a graph before it runs: weights as the file holds them, and what small arithmetic makes of them.

Nothing is run but NumPy: operators outside `FOLDS` leave their result unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from accelform.errors import InvalidWeights, NotAModel
from accelform.topology.graph import FLOATS, Node, check_tensor_size

Array = npt.NDArray[Any]

MAX_FOLDED = 2**28
"""Elements of all folded constants of a graph together; what would be more stays unknown."""

SMALL = 4096
"""Floating-point constants of up to this many elements are read even where weights are not asked for."""


class Constant:
    """A tensor whose values are known, read from the file when they are first asked for.

    Where only the topology is asked for, large floating-point tensors read as ones without memory.
    """

    def __init__(self, name: str, *, tensor: TensorProto | None = None, array: Array | None = None, real: bool) -> None:
        self.name = name
        self._tensor = tensor
        self._array = array
        self._real = real
        if array is not None:
            self.shape: tuple[int, ...] = array.shape
        else:
            assert tensor is not None
            self.shape = tuple(tensor.dims)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def real(self) -> bool:
        """Whether `array` gives the file's values."""
        return self._real

    def array(self) -> Array:
        """Raises: InvalidWeights: the file has fewer or more bytes than the shape says."""
        if self._array is not None:
            return self._array
        assert self._tensor is not None
        array = decoded(self._tensor) if self._real else np.broadcast_to(np.float32(1), self.shape)
        if self.size <= SMALL:
            self._array = array
        return array

    def vector(self) -> npt.NDArray[np.float64]:
        """The values in a row, float64.

        Raises:
            InvalidWeights: NaN or infinite values
        """
        return self.finite().astype(np.float64).reshape(-1)

    def finite(self) -> Array:
        """Raises: InvalidWeights: NaN or infinite values."""
        array = self.array()
        # A sum is finite only if all are, unless it overflows: then look again, slowly.
        with np.errstate(all="ignore"):
            quick = self._real and not np.isfinite(np.sum(array, dtype=np.float64))
        if quick and not np.all(np.isfinite(array)):
            count = int(array.size - np.count_nonzero(np.isfinite(array)))
            raise InvalidWeights(
                f"the tensor {self.name} has {count:,} values that are NaN or infinite: no number format can hold them;"
                f" look for the step that diverged in training, and export the model again"
            )
        return array


def initializer(name: str, tensor: TensorProto, *, with_weights: bool) -> Constant | None:
    """The constant of a tensor of the file; None if it holds no numbers."""
    if tensor.data_type not in _NUMBERS:
        return None
    external = tensor.data_location == TensorProto.EXTERNAL
    floating = tensor.data_type in FLOATS
    real = not external and (with_weights or not floating or prod(tensor.dims) <= SMALL)
    if external and (with_weights or not floating):
        raise NotAModel(
            f"the values of the tensor {name} are in another file, which was not loaded with the model: keep the files "
            f"together, or save the model as one file"
        )
    return Constant(name, tensor=tensor, real=real)


class Budget:
    """How many elements may still be folded: a small file can ask for any number."""

    def __init__(self) -> None:
        self.left = MAX_FOLDED


def fold(
    node: Node, inputs: Sequence[Constant | None], *, with_weights: bool, budget: Budget | None = None
) -> Constant | None:
    """The first output of a node whose inputs are all known (None: an optional input that is left out)."""
    budget = budget or Budget()
    if node.op == "Constant":
        return _constant(node, with_weights=with_weights)
    work = FOLDS.get(node.op)
    if work is None or any(entry is None and node.inputs[index] for index, entry in enumerate(inputs)):
        return None
    arrays: list[Any] = [None if entry is None else entry.array() for entry in inputs]
    try:
        if _elements(node, arrays) > budget.left:
            return None
        with np.errstate(all="ignore"):
            result = work(node, arrays)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError):
        return None
    if result is None or result.size > MAX_FOLDED:
        return None
    if not any(array is not None and np.may_share_memory(result, array) for array in arrays):
        budget.left -= result.size
    origin = next((entry.name for entry in inputs if entry is not None), node.label)
    return Constant(origin, array=np.asarray(result), real=all(entry is None or entry.real for entry in inputs))


def _elements(node: Node, arrays: Sequence[Any]) -> int:
    """An upper limit of what a fold allocates; those that check for themselves are not looked at."""
    given = [array for array in arrays if array is not None]
    if node.op == "Gather":
        return int(given[1].size * given[0].size // max(1, given[0].shape[node.attribute("axis", 0)]))
    if node.op in _BROADCAST:
        return prod(np.broadcast_shapes(*(array.shape for array in given)))
    return sum(array.size for array in given) if node.op not in _SHAPED else 0


def pieces(node: Node, inputs: Sequence[Constant | None]) -> list[Constant]:
    """All outputs of a Split of a small constant, as graphs do with shapes; empty if it is something else."""
    data, sizes = inputs[0], inputs[1] if len(inputs) > 1 else None
    if node.op != "Split" or data is None or data.size > SMALL:
        return []
    array, axis = data.array(), node.attribute("axis", 0)
    given = node.attribute("split") if sizes is None else sizes.array().reshape(-1)
    try:
        if given is None:
            # Equal pieces but for the last, which has what is left.
            size = -(-array.shape[axis] // len(node.outputs))
            found = np.split(array, range(size, size * len(node.outputs), size), axis=axis)
        else:
            found = np.split(array, np.cumsum([int(size) for size in given])[:-1], axis=axis)
    except (ValueError, TypeError, LookupError):
        return []
    return (
        [Constant(data.name, array=piece, real=data.real) for piece in found] if len(found) == len(node.outputs) else []
    )


def reshaped(old: tuple[int, ...], wanted: Sequence[int], *, allow_zero: bool = False) -> tuple[int, ...]:
    """The shape that ONNX's Reshape gives.

    Raises:
        ValueError: the numbers of elements differ
    """
    shape = [old[index] if dim == 0 and not allow_zero else int(dim) for index, dim in enumerate(wanted)]
    if shape.count(-1) == 1:
        rest = prod(dim for dim in shape if dim != -1)
        if rest > 0 and prod(old) % rest == 0:
            shape[shape.index(-1)] = prod(old) // rest
    if prod(shape) != prod(old) or any(dim < 0 for dim in shape):
        raise ValueError(f"{old} cannot take the shape {list(wanted)}")
    return tuple(shape)


def decoded(tensor: TensorProto) -> Array:
    """The tensor's values.

    Raises:
        InvalidWeights: it holds fewer or more bytes than its shape says
        UnsupportedModel: its shape is larger than any network of ours has
    """
    check_tensor_size(tensor.name, tuple(tensor.dims))
    wanted = prod(tensor.dims)
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidWeights(
            f"the tensor {tensor.name} of shape {list(tensor.dims)} does not hold the {wanted:,} values that its shape "
            f"says: the file is truncated or damaged; export it again"
        ) from error
    return array


def _constant(node: Node, *, with_weights: bool) -> Constant | None:
    for name, kind in (
        ("value_float", np.float32),
        ("value_floats", np.float32),
        ("value_int", np.int64),
        ("value_ints", np.int64),
    ):
        if (given := node.attribute(name)) is not None:
            return Constant(node.label, array=np.asarray(given, dtype=kind), real=True)
    value = node.attribute("value")
    return initializer(node.label, value, with_weights=with_weights) if isinstance(value, TensorProto) else None


def _cast(node: Node, arrays: Sequence[Array]) -> Array | None:
    target = node.attribute("to")
    return arrays[0].astype(helper.tensor_dtype_to_np_dtype(target)) if target in _NUMBERS else None


def _dequantised(node: Node, arrays: Sequence[Any]) -> Array | None:
    """(integers - zero point) * scale, for the whole tensor or per slice of an axis: how weights are stored small."""
    data, scale = arrays[0], arrays[1]
    zero = arrays[2] if len(arrays) > 2 and arrays[2] is not None else np.zeros((), data.dtype)
    if data.dtype.kind not in "iu" or scale.dtype != np.float32 or node.attribute("block_size", 0):
        return None
    if scale.ndim == 1 and data.ndim > 0:
        shape = [1] * data.ndim
        shape[node.attribute("axis", 1)] = scale.size
        scale, zero = scale.reshape(shape), np.broadcast_to(zero, (scale.size,)).reshape(shape)
    elif scale.size != 1:
        return None
    return np.asarray((data.astype(np.int32) - zero.astype(np.int32)).astype(np.float32) * scale, np.float32)


def _transpose(node: Node, arrays: Sequence[Array]) -> Array:
    return np.transpose(arrays[0], node.attribute("perm"))


def _reshape(node: Node, arrays: Sequence[Array]) -> Array:
    wanted = [int(dim) for dim in arrays[1].reshape(-1)]
    return arrays[0].reshape(reshaped(arrays[0].shape, wanted, allow_zero=bool(node.attribute("allowzero", 0))))


def _axes(node: Node, arrays: Sequence[Any]) -> tuple[int, ...] | None:
    if (given := node.attribute("axes")) is not None:
        return tuple(given)
    return tuple(int(axis) for axis in arrays[1].reshape(-1)) if len(arrays) > 1 and arrays[1] is not None else None


def _squeeze(node: Node, arrays: Sequence[Array]) -> Array:
    return np.squeeze(arrays[0], _axes(node, arrays))


def _unsqueeze(node: Node, arrays: Sequence[Array]) -> Array:
    axes = _axes(node, arrays)
    return np.expand_dims(arrays[0], axes if axes is not None else ())


def _slice(node: Node, arrays: Sequence[Any]) -> Array:
    data = arrays[0]
    starts, ends = arrays[1].reshape(-1), arrays[2].reshape(-1)
    axes = arrays[3].reshape(-1) if len(arrays) > 3 and arrays[3] is not None else range(len(starts))
    steps = arrays[4].reshape(-1) if len(arrays) > 4 and arrays[4] is not None else [1] * len(starts)
    cut = [slice(None)] * data.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end far below zero is how ONNX says "to the very first" when walking backwards.
        last = None if int(step) < 0 and int(end) < -data.shape[int(axis)] else int(end)
        cut[int(axis)] = slice(int(start), last, int(step))
    return np.asarray(data[tuple(cut)])


def _shape(node: Node, arrays: Sequence[Array]) -> Array:
    return np.array(arrays[0].shape[node.attribute("start", 0) : node.attribute("end")], np.int64)


def _filled(node: Node, arrays: Sequence[Array]) -> Array | None:
    shape = tuple(int(dim) for dim in arrays[0].reshape(-1))
    value = node.attribute("value")
    fill = decoded(value).reshape(-1)[0] if value is not None else np.float32(0)
    return np.broadcast_to(fill, shape) if prod(shape) <= MAX_FOLDED else None


def _range(_node: Node, arrays: Sequence[Array]) -> Array | None:
    start, stop, step = (array.reshape(-1)[0] for array in arrays)
    return np.arange(start, stop, step) if abs((float(stop) - float(start)) / float(step)) <= SMALL else None


def _expand(_node: Node, arrays: Sequence[Array]) -> Array:
    shape = np.broadcast_shapes(arrays[0].shape, tuple(int(dim) for dim in arrays[1].reshape(-1)))
    return np.broadcast_to(arrays[0], shape)


def _tile(_node: Node, arrays: Sequence[Array]) -> Array | None:
    repeats = [int(count) for count in arrays[1].reshape(-1)]
    return np.tile(arrays[0], repeats) if arrays[0].size * prod(repeats) <= MAX_FOLDED else None


def _divide(_node: Node, arrays: Sequence[Array]) -> Array:
    if np.issubdtype(arrays[0].dtype, np.integer):
        return np.trunc(arrays[0] / arrays[1]).astype(arrays[0].dtype)
    return np.asarray(arrays[0] / arrays[1])


def _gather(node: Node, arrays: Sequence[Array]) -> Array:
    return np.take(arrays[0], arrays[1], axis=node.attribute("axis", 0))


def flattened_axis(node: Node, rank: int) -> int:
    """A Flatten's axis counted from the front; behind the last one is an axis too."""
    axis = int(node.attribute("axis", 1))
    return axis if axis >= 0 else axis + rank


def _flatten(node: Node, arrays: Sequence[Array]) -> Array:
    axis = flattened_axis(node, arrays[0].ndim)
    return arrays[0].reshape(prod(arrays[0].shape[:axis]), -1)


def _reduce(function: Callable[..., Any]) -> Callable[[Node, Sequence[Array]], Array]:
    def work(node: Node, arrays: Sequence[Array]) -> Array:
        axes = _axes(node, arrays) or None
        if axes is None and node.attribute("noop_with_empty_axes", 0):
            return arrays[0]
        found = function(arrays[0], axis=axes, keepdims=bool(node.attribute("keepdims", 1)))
        return np.asarray(found, arrays[0].dtype)

    return work


def _pointwise(function: Callable[..., Any]) -> Callable[[Node, Sequence[Array]], Array]:
    return lambda _node, arrays: np.asarray(function(*arrays))


FOLDS: Mapping[str, Callable[[Node, Sequence[Array]], Array | None]] = {
    "Identity": lambda _node, arrays: arrays[0],
    "Dropout": lambda _node, arrays: None if len(arrays) > 2 and arrays[2].any() else arrays[0],
    "DequantizeLinear": _dequantised,
    "Cast": _cast,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Gather": _gather,
    "Shape": _shape,
    "Size": lambda _node, arrays: np.array(arrays[0].size, np.int64),
    "ConstantOfShape": _filled,
    "Range": _range,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": lambda node, arrays: np.concatenate(arrays, axis=node.attribute("axis")),
    "Add": _pointwise(np.add),
    "Sub": _pointwise(np.subtract),
    "Mul": _pointwise(np.multiply),
    "Div": _divide,
    "Pow": lambda _node, arrays: np.asarray(np.power(arrays[0], arrays[1]), arrays[0].dtype),
    "Neg": _pointwise(np.negative),
    "Abs": _pointwise(np.abs),
    "Sqrt": _pointwise(np.sqrt),
    "Reciprocal": _pointwise(np.reciprocal),
    "Exp": _pointwise(np.exp),
    "Floor": _pointwise(np.floor),
    "Ceil": _pointwise(np.ceil),
    "Max": lambda _node, arrays: np.asarray(np.maximum.reduce(list(arrays))),
    "Min": lambda _node, arrays: np.asarray(np.minimum.reduce(list(arrays))),
    "Equal": _pointwise(np.equal),
    "Not": _pointwise(np.logical_not),
    "Where": _pointwise(np.where),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
}

_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Equal", "Where")
_SHAPED = (
    "Shape",
    "Size",
    "ConstantOfShape",
    "Range",
    "Expand",
    "Tile",
    "Identity",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
)

_NUMBERS = (
    *FLOATS,
    *(
        getattr(onnx.TensorProto, name)
        for name in ("INT64", "INT32", "INT16", "INT8", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")
    ),
)
