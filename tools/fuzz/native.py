"""Programs as a damaged or hostile file could make them: `python -m tools.fuzz.native LIBRARY RUNS [SEED]`.

`tools.fuzz.sanitised` builds libraries that find what is undefined, and runs this with them.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from accelform_runtime.native.library import load
from accelform_runtime.native.plan import plan
from accelform_runtime.native.program import Program
from accelform_runtime.native.records import Backend, BlocksRecord, OpRecord, ProgramRecord, ViewRecord
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
MOST_WORK = 1 << 24
"""Products and sums of a damaged program that is run: a larger one is only loaded."""
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


def run(record: ProgramRecord, image: Maps, library: Path | None = None) -> str:
    """`refused`, `run`, or `loaded` where running it would take for ever."""
    native = load(library) if library else load()
    step, problem = ctypes.c_int64(), ctypes.create_string_buffer(200)
    handle = native.accelform_create(ctypes.byref(record), ctypes.byref(step), problem, len(problem))
    if handle is None:
        assert problem.value
        return "refused"
    outcome = "loaded"
    if _work(record) <= MOST_WORK:
        outcome = "run"
        outputs = [np.zeros(record.output_bytes[number] // 4, np.float32) for number in range(record.output_count)]
        addresses = (ctypes.c_void_p * len(outputs))(*(array.ctypes.data for array in outputs))
        pixels = np.random.default_rng(0).normal(size=(image.height, image.width, image.channels)).astype(np.float32)
        native.accelform_run(handle, pixels.ctypes.data, addresses, ctypes.byref(step))
    native.accelform_destroy(handle)
    return outcome


def damaged(rounds: int, seed: int, library: Path | None = None) -> Iterator[str]:
    """Runs programs in which one to three numbers were replaced; yields what became of each."""
    rng = np.random.default_rng(seed)
    net = network(7, 9, 3)
    formats = [load_profile(name) for name in PROFILES]
    arrays = [packed(net, fmt) for fmt in formats]
    for number in range(rounds):
        fmt = formats[number % len(formats)]
        backend = Backend(int(rng.integers(1, load().accelform_backend() + 1)))
        keep = bool(rng.integers(0, 2))
        own = arrays[number % len(formats)]
        program = Program(plan(net, fmt, keep=keep), own, fmt, threads=1 + number % 3, backend=backend)
        for _ in range(int(rng.integers(1, 4))):
            _damage(program.record, rng)
        yield run(program.record, net.image, library)


def mismatched(library: Path | None = None) -> Iterator[tuple[str, str]]:
    """Runs programs that each have one view of the other type; yields its step's kind and what became of it."""
    net = network(7, 9, 3)
    for profile in PROFILES:
        fmt = load_profile(profile)
        sound = Program(plan(net, fmt, keep=True), packed(net, fmt), fmt, threads=1, backend=Backend.ANY)
        count = sound.record.view_count
        for number in range(count):
            program = Program(plan(net, fmt, keep=True), packed(net, fmt), fmt, threads=2, backend=Backend.ANY)
            record = program.record
            record.views[number].is_float = not record.views[number].is_float
            used = {record.ops[op].kind for op in range(record.op_count) if number in _results(record.ops[op])}
            yield "convolution" if 0 in used else "other", run(record, net.image, library)


def _results(op: OpRecord) -> tuple[int, int]:
    return op.middle, op.out


def _work(record: ProgramRecord) -> int:
    total = 0
    for op in (record.ops[number] for number in range(record.op_count)):
        maps = record.blocks[op.blocks_in] if op.kind == 0 else record.views[op.source]
        outputs = record.array_bytes[op.bias] // 4 if op.kind == 0 else 1
        rows, columns = (
            (side + op.padding[axis] + op.padding[axis + 2]) // op.stride[axis] + 1
            for axis, side in enumerate((maps.height, maps.width))
        )
        total += rows * columns * maps.channels * outputs * op.kernel[0] * op.kernel[1]
    for blocks in (record.blocks[number] for number in range(record.blocks_count)):
        total += (blocks.height + blocks.top + blocks.bottom) * (blocks.width + blocks.left + blocks.right)
    return total


def _damage(record: ProgramRecord, rng: np.random.Generator) -> None:
    tables = {
        ViewRecord: (record.views, record.view_count),
        BlocksRecord: (record.blocks, record.blocks_count),
        OpRecord: (record.ops, record.op_count),
    }
    if rng.integers(0, 8) == 0:  # sizes of the caller's own memory are not the file's to say
        names = ("abi", "block", "mantissa_bits", "exponent_low", "exponent_high", "rounding", "arena_bytes", "threads")
        name = (*names, "is_float", "carry")[rng.integers(0, len(names) + 2)]
        value = _value(getattr(record, name), rng)
        setattr(record, name, min(value, 4) if name == "threads" else value)
        return
    kind = list(tables)[rng.integers(0, len(tables))]
    table, count = tables[kind]
    row = table[int(rng.integers(0, max(1, count)))]
    fields = [name for name, *_ in kind._fields_ if name != "epsilon"]
    name = fields[rng.integers(0, len(fields))]
    if isinstance(getattr(row, name), ctypes.Array):
        place = int(rng.integers(0, len(getattr(row, name))))
        getattr(row, name)[place] = _value(getattr(row, name)[place], rng)
    else:
        setattr(row, name, _value(getattr(row, name), rng))


def _value(before: int, rng: np.random.Generator) -> int:
    """An extreme number, or one near to what stood there: the place beside a sound one, the number of another row."""
    if rng.integers(0, 2):
        value = before + int(rng.choice([-64, -4, -2, -1, 1, 2, 3, 4, 64, before]))
    else:
        value = VALUES[rng.integers(0, len(VALUES))] + int(rng.integers(-1, 2)) * int(rng.integers(0, 2))
    return min(max(value, -(2**63)), 2**63 - 1)


def shapes(library: Path | None = None) -> None:
    """Sound programs of awkward sides, on every set of instructions."""
    for number, (height, width, channels) in enumerate(((1, 2, 1), (2, 15, 3), (5, 29, 130), (9, 8, 127), (16, 14, 4))):
        net = network(height + 1, width + 1, channels)
        for profile in PROFILES:
            fmt = load_profile(profile)
            for backend in map(Backend, range(1, load().accelform_backend() + 1)):
                program = Program(
                    plan(net, fmt, keep=number % 2 == 1), packed(net, fmt), fmt, threads=1 + number % 3, backend=backend
                )
                assert run(program.record, net.image, library) != "refused"


def _conv(name: str, source: str, inputs: int, outputs: int, window: Window) -> Convolution:
    return Convolution(
        name=name, source=source, in_channels=inputs, out_channels=outputs, window=window, weights=name, relu=False
    )


def main(library: str, runs: str, seed: str = "1") -> None:
    """Sound programs, those with a type exchanged, and damaged ones."""
    shapes(Path(library))
    counted = Counter(outcome for _, outcome in mismatched(Path(library)))
    counted.update(damaged(int(runs), int(seed), Path(library)))
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(counted.items())))


if __name__ == "__main__":
    main(*sys.argv[1:])
