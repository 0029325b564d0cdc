"""Whatever a program says, the library answers with an error or with numbers, and stays in its memory."""

from __future__ import annotations

import ctypes

import pytest
from tests.unit.native.support import needs_library
from tools.fuzz import native, sanitised

from accelform_runtime.native.library import load
from accelform_runtime.native.plan import plan
from accelform_runtime.native.program import Program
from accelform_runtime.native.records import Backend, Kind, OpRecord, ProgramRecord
from accelform_runtime.network.steps import Maps
from accelform_runtime.numerics import load_profile

RUNS = 150
"""Damaged programs that each sanitiser sees in a run of the tests; `make fuzz` takes as many as are wished."""

pytestmark = needs_library


@pytest.fixture
def program() -> Program:
    """A sound one of every kind of step."""
    net, fmt = native.network(7, 9, 3), load_profile("bw-a10-cnn")
    return Program(plan(net, fmt, keep=True), native.packed(net, fmt), fmt, threads=2, backend=Backend.ANY)


def ops(record: ProgramRecord, kind: Kind) -> list[OpRecord]:
    return [record.ops[number] for number in range(record.op_count) if record.ops[number].kind == kind]


def refusal(record: ProgramRecord) -> str:
    """Why the library does not take a program; it has not taken it."""
    step, problem = ctypes.c_int64(), ctypes.create_string_buffer(200)
    assert load().accelform_create(ctypes.byref(record), ctypes.byref(step), problem, len(problem)) is None
    return problem.value.decode()


def test_damaged_programs_are_refused_or_run() -> None:
    """Numbers replaced by extreme ones never crash the process; most are refused."""
    outcomes = list(native.damaged(600, seed=0))

    assert outcomes.count("refused") > 200
    assert outcomes.count("run") > 20  # a replaced number may be a harmless one


@pytest.mark.parametrize("place", ["middle", "out"])
def test_a_place_of_the_other_type(program: Program, place: str) -> None:
    """A convolution writes the point-wise type: two bytes a value into room for four, or four into room for two."""
    index = next(getattr(op, place) for op in ops(program.record, Kind.CONVOLUTION) if getattr(op, place) >= 0)
    program.record.views[index].is_float = not program.record.views[index].is_float

    assert "another type" in refusal(program.record) or "outside the memory" in refusal(program.record)


def test_no_mismatch_of_types_is_run_by_a_convolution() -> None:
    """In any number format, whichever view is of the other type."""
    outcomes = set(native.mismatched())

    assert ("convolution", "refused") in outcomes
    assert ("convolution", "run") not in outcomes


@pytest.mark.parametrize("kind", [Kind.MAX_POOL, Kind.AVERAGE_POOL, Kind.CONVOLUTION])
def test_windows_beyond_counting(program: Program, kind: Kind) -> None:
    """A window of 65,536 x 65,536 places has more than an int counts, however much padding makes it fit."""
    op = ops(program.record, kind)[0]
    for axis in range(2):
        op.kernel[axis], op.dilation[axis], op.stride[axis] = 1 << 16, 1, 1 << 16
        op.padding[axis] = op.padding[axis + 2] = 1 << 16

    assert refusal(program.record)
    assert kind is Kind.CONVOLUTION or "impossibly large" in refusal(program.record)


@pytest.mark.parametrize(
    ("kind", "read"), [(Kind.CONVOLUTION, "added"), (Kind.MAX_POOL, "source"), (Kind.AVERAGE_POOL, "source")]
)
@pytest.mark.parametrize("rows", [0, 1])
def test_results_over_what_is_read(program: Program, kind: Kind, read: str, rows: int) -> None:
    """A step's parts run side by side, so that its result may not lie where it reads, nor partly so."""
    op = next(op for op in ops(program.record, kind) if getattr(op, read) >= 0 and op.out >= 0)
    source, out = (program.record.views[index] for index in (getattr(op, read), op.out))

    out.offset = source.offset + rows * 2 * source.stride

    assert "writes over what it reads" in refusal(program.record)


def test_parts_of_joined_maps_lie_side_by_side(program: Program) -> None:
    """Rows that several steps share are taken: each has channels of its own."""
    strides = {(view.stride, view.channels) for view in program.record.views[: program.record.view_count]}

    assert any(stride > channels for stride, channels in strides)
    assert native.run(program.record, Maps(height=7, width=9, channels=3)) == "run"


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("sanitiser", sanitised.FLAGS)
def test_awkward_shapes_and_damage_under_the_sanitisers(sanitiser: str) -> None:
    """No access outside of memory or without order, no undefined arithmetic, in a library built to find them."""
    if why := sanitised.problem(sanitiser):
        pytest.skip(why)

    done = sanitised.fuzz(sanitiser, RUNS)

    assert done.returncode == 0, done.stderr[-3000:]
    assert "refused" in done.stdout
