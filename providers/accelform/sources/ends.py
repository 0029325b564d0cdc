"""What a service can carry over the wire: types, shapes and names of a network's ends, judged at preview."""

from __future__ import annotations

from accelform.conversion.split import SplitModel
from accelform.errors import UnsupportedModel
from accelform_runtime.device import bundle
from accelform_runtime.device.bundle import IMAGE_ENCODING, TensorInfo

MAX_NAME = 1000
"""Characters of a name: more fits neither a page nor a message, and 65,535 bytes no archive."""

SHOWN = 60


def check_wire(split: SplitModel) -> None:
    """Raises: UnsupportedModel: every reason why a server would not start with these ends."""
    encoding = IMAGE_ENCODING if split.preprocess is not None else ""
    inputs = [
        TensorInfo(name=tensor.name, alias=tensor.alias, dtype=tensor.dtype, shape=tensor.shape, encoding=encoding)
        for tensor in split.inputs
    ]
    problems = [problem for tensor in inputs for problem in bundle.input_problems(tensor)]
    names = [name for tensor in split.outputs for name in {tensor.name, tensor.alias}]
    problems += [f"two outputs share the name {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    every = [tensor.name for tensor in (*split.inputs, *split.outputs)] + [step.name for step in split.network.steps]
    problems += [problem for name in dict.fromkeys(every) if (problem := name_problem(name))]
    if problems:
        raise UnsupportedModel(
            f"the network can't be served: {'; '.join(problems[:8])}. Export the model with other inputs and outputs"
        )


def name_problem(name: str) -> str:
    """Why a tensor or layer of that name can't be told of in messages, archives and JSON; empty if it can."""
    if len(name) > MAX_NAME:
        return f"the name {shortened(name)} has {len(name):,} characters; at most {MAX_NAME:,} are taken"
    if not name.isprintable():
        return f"the name {shortened(name)} has characters that can't be shown"
    return ""


def shortened(name: str) -> str:
    """A name as a message can hold it."""
    return repr(name if len(name) <= SHOWN else f"{name[:SHOWN]}…")
