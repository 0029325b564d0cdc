"""Programs as a damaged or hostile file could make them; a script, with the library as argument, for the sanitisers."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from accelform_runtime.native.library import load
from accelform_runtime.native.plan import plan
from accelform_runtime.native.program import Program
from accelform_runtime.native.records import BlocksRecord, OpRecord, ProgramRecord, ViewRecord
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.packed import Packed, pack_parameters
from accelform_runtime.network.parameters import StepArrays
from accelform_runtime.network.steps import (
    IMAGE,
    Add,
    AveragePool,
    Concat,
    Convolution,
    Maps,
    MaxPool,
    Mean,
    Normalise,
    Step,
    Window,
)
from accelform_runtime.numerics import NumberFormat, load_profile

VALUES = (-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 64, 1000, 2**16, 2**20, 2**20 + 1, 2**31, 2**40, 2**62, 2**63 - 1)
PROFILES = ("bw-a10-cnn", "msfp16", "intel-fp11", "bw-s10-rnn", "bw-a10-cnn-float32", "bw-a10-cnn-carry")


def network(height: int, width: int, channels: int) -> Network:
    """One step of most kinds, on maps of odd sides."""
    window = Window(kernel=(3, 2), stride=(2, 1), padding=(1, 1, 2, 0), dilation=(1, 2))
    steps: tuple[Step, ...] = (
        _conv("a", IMAGE, channels, 33, window),
        _conv("b", "a", 33, 33, Window(kernel=(1, 1))),
        Add(name="sum", left="a", right="b", relu=True),
        Concat(name="both", inputs=("sum", "b", "sum")),
        MaxPool(name="max", source="both", window=Window(kernel=(2, 2), stride=(2, 2), padding=(0, 0, 1, 1))),
        AveragePool(name="average", source="max", window=Window(kernel=(2, 2), padding=(1, 0, 0, 1))),
        Normalise(name="norm", source="average", channels=99, scale="norm/scale"),
        _conv("c", "norm", 99, 5, Window(kernel=(1, 1))),
        Mean(name="mean", source="c"),
    )
    outputs = (Output(tensor="out:0", value="mean", shape=(5,)),)
    image = Maps(height=height, width=width, channels=channels)
    return Network(name="odd", image=image, steps=steps, outputs=outputs)


def packed(net: Network, fmt: NumberFormat) -> Packed:
    rng = np.random.default_rng(0)
    arrays = {
        conv.name: StepArrays(
            weights=rng.normal(size=conv.weights_shape).astype(np.float32), bias=np.zeros(conv.out_channels, np.float32)
        )
        for conv in net.convolutions
    }
    arrays["norm"] = StepArrays(scale=np.ones(99, np.float32))
    return pack_parameters(net, arrays, fmt)


def run(record: ProgramRecord, image: Maps) -> bool:
    """Whether the library takes the program; if it does, the program is run."""
    library = load(LIBRARY) if LIBRARY else load()
    step, problem = ctypes.c_int64(), ctypes.create_string_buffer(200)
    handle = library.accelform_create(ctypes.byref(record), ctypes.byref(step), problem, len(problem))
    if handle is None:
        assert problem.value
        return False
    outputs = [np.zeros(record.output_bytes[number] // 4, np.float32) for number in range(record.output_count)]
    addresses = (ctypes.c_void_p * len(outputs))(*(array.ctypes.data for array in outputs))
    pixels = np.random.default_rng(0).normal(size=(image.height, image.width, image.channels)).astype(np.float32)
    library.accelform_run(handle, pixels.ctypes.data, addresses, ctypes.byref(step))
    library.accelform_destroy(handle)
    return True


def damaged(rounds: int, seed: int) -> Iterator[bool]:
    """Runs programs in which one or two numbers were replaced; yields whether each was taken."""
    rng = np.random.default_rng(seed)
    net = network(7, 9, 3)
    for number in range(rounds):
        fmt = load_profile(PROFILES[number % len(PROFILES)])
        backend = int(rng.integers(1, load().accelform_backend() + 1))
        program = Program(plan(net, fmt), packed(net, fmt), fmt, threads=1 + number % 2, backend=backend)
        for _ in range(int(rng.integers(1, 3))):
            _damage(program.record, rng)
        yield run(program.record, net.image)


def _damage(record: ProgramRecord, rng: np.random.Generator) -> None:
    tables = {
        ViewRecord: (record.views, record.view_count),
        BlocksRecord: (record.blocks, record.blocks_count),
        OpRecord: (record.ops, record.op_count),
    }
    value = VALUES[rng.integers(0, len(VALUES))] + int(rng.integers(-1, 2)) * int(rng.integers(0, 2))
    value = min(max(value, -(2**63)), 2**63 - 1)
    if rng.integers(0, 8) == 0:  # sizes of the caller's own memory are not the file's to say
        names = ("abi", "block", "mantissa_bits", "exponent_low", "exponent_high", "rounding", "arena_bytes", "threads")
        name = names[rng.integers(0, len(names))]
        setattr(record, name, min(value, 4) if name == "threads" else value)
        return
    kind = list(tables)[rng.integers(0, len(tables))]
    table, count = tables[kind]
    row = table[int(rng.integers(0, max(1, min(count, 20))))]
    fields = [name for name, *_ in kind._fields_ if name != "epsilon"]
    name = fields[rng.integers(0, len(fields))]
    if isinstance(getattr(row, name), ctypes.Array):
        getattr(row, name)[int(rng.integers(0, len(getattr(row, name))))] = value
    else:
        setattr(row, name, value)


def shapes() -> None:
    """Sound programs of awkward sides, on every set of instructions."""
    for number, (height, width, channels) in enumerate(((1, 2, 1), (2, 15, 3), (5, 29, 130), (9, 8, 127), (16, 14, 4))):
        net = network(height + 1, width + 1, channels)
        for profile in PROFILES:
            fmt = load_profile(profile)
            for backend in range(1, load().accelform_backend() + 1):
                program = Program(
                    plan(net, fmt, keep=number % 2 == 1), packed(net, fmt), fmt, threads=1 + number % 3, backend=backend
                )
                assert run(program.record, net.image)


def _conv(name: str, source: str, inputs: int, outputs: int, window: Window) -> Convolution:
    return Convolution(
        name=name, source=source, in_channels=inputs, out_channels=outputs, window=window, weights=name, relu=False
    )


LIBRARY: Path | None = None

if __name__ == "__main__":
    LIBRARY = Path(sys.argv[1])
    shapes()
    taken = list(damaged(int(sys.argv[2]), seed=1))
    print(f"{len(taken) - sum(taken)} refused, {sum(taken)} run")
