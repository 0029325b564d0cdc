"""The engine as a server uses it: errors, threads, forks, memory."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.unit.native.support import needs_library

from accelform_runtime.errors import EngineUnavailable, InternalError, InvalidTensor, NotFinite
from accelform_runtime.native import Engine, library, unavailable_reason
from accelform_runtime.native.memory import Region, place
from accelform_runtime.native.plan import plan
from accelform_runtime.network.network import Network, Output
from accelform_runtime.network.parameters import Parameters, StepArrays
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.network.steps import IMAGE, Add, Concat, Convolution, Maps, Step, Window
from accelform_runtime.numerics import load_profile
from accelform_runtime.numerics.quantiser import Floats

FORMAT = load_profile("bw-a10-cnn")


def conv(name: str, source: str, inputs: int, outputs: int, *, relu: bool = True) -> Convolution:
    return Convolution(
        name=name, source=source, in_channels=inputs, out_channels=outputs, weights=name, relu=relu,
        window=Window(kernel=(3, 3), padding=(1, 1, 1, 1)),
    )  # fmt: skip


@pytest.fixture
def network() -> Network:
    steps: tuple[Step, ...] = (
        conv("a", IMAGE, 3, 8),
        conv("b", "a", 8, 8, relu=False),
        Add(name="sum", left="a", right="b", relu=True),
        Concat(name="both", inputs=("sum", "a")),
    )
    outputs = (Output(tensor="out:0", value="both", shape=(1, 20 * 9, 16)),)
    return Network(name="small", image=Maps(height=20, width=9, channels=3), steps=steps, outputs=outputs)


@pytest.fixture
def parameters(network: Network) -> Parameters:
    rng = np.random.default_rng(1)
    return {
        step.name: StepArrays(
            weights=rng.normal(size=step.weights_shape).astype(np.float32), bias=np.ones(8, np.float32)
        )
        for step in network.convolutions
    }


@pytest.fixture
def image() -> Floats:
    return np.random.default_rng(2).normal(size=(20, 9, 3)).astype(np.float32)


@needs_library
def test_outputs_have_the_tensors_shapes(network: Network, parameters: Parameters, image: Floats) -> None:
    """Tensor names and shapes are the network's, and float32 weights are quantised on the way."""
    with Engine(network, parameters, FORMAT) as engine:
        outputs = engine.run(image)

    assert {name: values.shape for name, values in outputs.items()} == {"out:0": (1, 180, 16)}
    assert outputs["out:0"].dtype == np.float32


@needs_library
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(
    network: Network, parameters: Parameters, image: Floats, value: float
) -> None:
    """A NaN or an infinity is named with the step that gave it; the next image is computed as if nothing had been."""
    broken = image.copy()
    broken[3, 3, 1] = value
    with Engine(network, parameters, FORMAT, threads=2) as engine:
        before = engine.run(image)["out:0"]
        with pytest.raises(NotFinite, match="image"):
            engine.run(broken)

        assert np.array_equal(engine.run(image)["out:0"], before)


@needs_library
def test_a_result_beyond_float16_is_refused_where_it_appears(
    network: Network, parameters: Parameters, image: Floats
) -> None:
    """Overflow to infinity is found when the next convolution reads it, as in the definition."""
    huge = dict(parameters)
    huge["a"] = dataclasses.replace(huge["a"], bias=np.full(8, 1e6, np.float32))
    with Engine(network, huge, FORMAT) as engine, pytest.raises(NotFinite, match="what a gives"):
        engine.run(image)


@needs_library
def test_an_image_of_another_shape_is_refused(network: Network, parameters: Parameters) -> None:
    """Both shapes are in the message."""
    with (
        Engine(network, parameters, FORMAT) as engine,
        pytest.raises(InvalidTensor, match=r"\[9, 20, 3\].*\[20, 9, 3\]"),
    ):
        engine.run(np.zeros((9, 20, 3), np.float32))


@needs_library
def test_a_closed_engine_says_so(network: Network, parameters: Parameters, image: Floats) -> None:
    """Closing twice is fine, running afterwards is not."""
    engine = Engine(network, parameters, FORMAT, threads=2)
    engine.close()
    engine.close()

    with pytest.raises(InternalError, match="closed"):
        engine.run(image)


@needs_library
def test_calls_from_several_threads_all_get_their_own_answer(network: Network, parameters: Parameters) -> None:
    """Callers wait for each other, and no two runs mix."""
    rng = np.random.default_rng(3)
    images = [rng.normal(size=(20, 9, 3)).astype(np.float32) for _ in range(4)]
    wrong: list[int] = []
    with Engine(network, parameters, FORMAT, threads=2) as engine:
        expected = [engine.run(image)["out:0"] for image in images]

        def call(number: int) -> None:
            for _ in range(20):
                if not np.array_equal(engine.run(images[number])["out:0"], expected[number]):
                    wrong.append(number)

        callers = [threading.Thread(target=call, args=(number,)) for number in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()

    assert not wrong


@needs_library
def test_a_forked_process_is_told_to_make_its_own_engine(
    network: Network, parameters: Parameters, image: Floats
) -> None:
    """The threads don't exist in the child; running and closing there neither hang nor crash."""
    with Engine(network, parameters, FORMAT, threads=2) as engine:
        child = os.fork()
        if child == 0:  # no assertion may leave the child
            code = 1
            try:
                engine.run(image)
            except InternalError as error:
                engine.close()
                code = 0 if "forked" in str(error) else 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert engine.run(image)


@needs_library
def test_making_and_closing_engines_leaves_nothing(network: Network, parameters: Parameters, image: Floats) -> None:
    """Neither threads nor memory stay behind."""

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

    def use() -> None:
        with Engine(network, parameters, FORMAT, threads=4) as engine:
            engine.run(image)

    for _ in range(5):
        use()
    threads, before = len(list(Path("/proc/self/task").iterdir())), resident()
    for _ in range(100):
        use()

    assert len(list(Path("/proc/self/task").iterdir())) == threads
    assert resident() - before < 8 << 20


@needs_library
def test_the_time_of_every_step_is_known(network: Network, parameters: Parameters, image: Floats) -> None:
    """Each op of the last run has a name and a time."""
    with Engine(network, parameters, FORMAT) as engine:
        begun = time.perf_counter()
        engine.run(image)
        took = time.perf_counter() - begun
        seconds = engine.step_seconds()

    assert [name for name, _ in seconds] == ["image", "a", "b", "both: output"]
    assert all(0 < value < took for _, value in seconds)


@needs_library
def test_a_parameter_that_is_missing_or_misshapen_is_an_error(network: Network, parameters: Parameters) -> None:
    """The library names the step whose arrays don't fit."""
    short = dict(parameters)
    short["b"] = dataclasses.replace(short["b"], bias=np.ones(7, np.float32))
    with pytest.raises(EngineUnavailable, match=r"at b: .*arrays"):
        Engine(network, short, FORMAT)


def test_formats_without_blocks_are_left_to_onnxruntime(network: Network, parameters: Parameters) -> None:
    """The reason is given before and when an engine is made."""
    float32 = load_profile("float32")

    assert "no blocks" in str(library.format_problem(float32))
    assert unavailable_reason(float32) is not None
    with pytest.raises(EngineUnavailable, match="no blocks"):
        Engine(network, parameters, float32)


def test_a_library_that_was_not_built_is_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A missing or foreign file turns the engine off, with words for the log."""
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "none.so")
    assert "not built" in str(unavailable_reason())

    (tmp_path / "none.so").write_bytes(b"not a library")
    assert "can't be loaded" in str(unavailable_reason())


def test_memory_is_shared_only_by_what_is_not_needed_together() -> None:
    """Regions that live at the same time never overlap, and others do share."""
    rng = np.random.default_rng(4)
    regions = []
    for _ in range(60):
        begin = int(rng.integers(0, 50))
        region = Region(size=int(rng.integers(1, 5000)), begin=begin, end=begin + int(rng.integers(0, 6)))
        regions.append(region)
    total = place(regions)

    for number, one in enumerate(regions):
        assert one.offset % 64 == 0
        assert one.offset + one.size <= total
        for other in regions[:number]:
            apart = one.offset + one.size <= other.offset or other.offset + other.size <= one.offset
            assert apart or not one.meets(other)
    assert total < sum(region.size for region in regions) / 2


def test_a_result_joined_to_others_is_written_in_place(network: Network) -> None:
    """Concatenation copies nothing: its parts lie in it."""
    ops = [op.label for op in plan(network, FORMAT).ops]

    assert ops == ["image", "a", "b", "both: output"]


@needs_library
def test_the_reference_agrees_here_too(network: Network, parameters: Parameters, image: Floats) -> None:
    """The fixtures of this file compute the same as the definition."""
    with Engine(network, parameters, FORMAT, threads=2) as engine:
        packed = engine.run(image)["out:0"]
    quantised = quantise_parameters(network, parameters, FORMAT)
    assert np.array_equal(packed, Reference(network, quantised, FORMAT).run(image)["out:0"])
