"""ResNet-50 in block floating point: public tools that emulate it, and ours, interleaved with float32 onnxruntime.

Every tool does the same: weights rounded beforehand, each convolution's input rounded in blocks of 128 channels to five
bits. Ours do more: they also round to float16 between convolutions, preprocess the image and classify.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from accelform_runtime.device import Fpga
from accelform_runtime.device.bundle import Bundle
from accelform_runtime.device.parts import Parts
from accelform_runtime.worker import images
from benchmarks.bundles import IMAGE, converted
from benchmarks.measure import interleaved, ratio, summarise
from benchmarks.peer_tools.environment import ROOT, PeersUnavailable, child_environment, peers_python

TOOLS = ("torch", "qtorch", "brevitas", "amd-quark")
"""`torch` alone rounds nothing: what the other three start from."""
WHOLE = "amd-quark/onnxruntime"
"""Our served graph in onnxruntime with that tool's operator in place of our quantiser: its answer should be ours."""
THREADS = 2
ROUNDS = 30
FORMAT, BASELINE = "bw-a10-cnn", "float32-onnxruntime"
OURS = {"bfp-onnxruntime": "onnxruntime", "bfp-native": "native"}


def run() -> dict[str, Any]:
    """Milliseconds of each, as multiples of the float32 session, and how many times slower than ours the tools are."""
    skipped: dict[str, str] = {}
    answers: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="accelform-bench-") as name, ExitStack() as open_now:
        folder = Path(name)
        calls = _ours(folder, skipped)
        features, answer = _prepare(folder / FORMAT)
        for tool in (*TOOLS, WHOLE):
            try:
                calls[tool], answers[tool] = open_now.enter_context(_peer(tool, folder / FORMAT))
            except PeersUnavailable as error:
                skipped[tool] = str(error)
        seconds = interleaved(calls, rounds=ROUNDS, warm_up=3)
    rounding = [(statistics.median(values), tool) for tool, values in seconds.items() if tool in (*TOOLS[1:], WHOLE)]
    best = min(rounding) if rounding else None
    return {
        "threads": THREADS,
        "number_format": FORMAT,
        "versions": {tool: first["version"] for tool, first in answers.items()},
        **{label: _summary(values) for label, values in seconds.items()},
        "over_float32": {
            label: ratio(values, seconds[BASELINE]) for label, values in seconds.items() if label != BASELINE
        },
        "best_tool": best[1] if best else None,
        "best_tool_over_ours": {
            label: ratio(seconds[best[1]], seconds[label]) for label in OURS if best and label in seconds
        },
        "agreement_of_features": {
            tool: _agreement(features, first["values"]) for tool, first in answers.items() if tool != WHOLE
        },
        "same_answer_with_their_quantiser": (
            bool(np.array_equal(answer, np.array(answers[WHOLE]["values"]))) if WHOLE in answers else None
        ),
        "skipped": skipped,
    }


def _ours(folder: Path, skipped: dict[str, str]) -> dict[str, Callable[[], object]]:
    pixels = images.decode(IMAGE.read_bytes())[None]
    devices = {BASELINE: Fpga(converted(folder, "float32"), threads=THREADS, engine="onnxruntime")}
    bundle = converted(folder, FORMAT)
    for label, engine in OURS.items():
        try:
            devices[label] = Fpga(bundle, threads=THREADS, engine=engine)
        except Exception as error:  # the native engine where there is no compiler: told, and the rest is measured
            skipped[label] = str(error)
    return {label: partial(device.run, pixels) for label, device in devices.items()}


def _prepare(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Writes the image, and the same preprocessed; returns features and answer that the definition gives for it."""
    from accelform_runtime.network.reference import Reference

    bundle = Bundle.read(folder)
    parts = Parts(folder, bundle, THREADS)
    reference = Reference(parts.network, parts.packed().parameters(), parts.fmt)
    seen: list[np.ndarray] = []
    found: list[np.ndarray] = []

    def compute(image: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(image)
        tensors = reference.run(image)
        found.append(tensors[parts.network.outputs[0].tensor])
        return tensors

    pixels, name = images.decode(IMAGE.read_bytes())[None], bundle.outputs[0].name
    answer = parts.run(pixels, [name], compute)[name]
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "image.npy", seen[0][None])
    return found[0].reshape(-1), answer.reshape(-1)


@contextmanager
def _peer(tool: str, folder: Path) -> Iterator[tuple[Callable[[], object], dict[str, Any]]]:
    """A call that has the tool's process run the network once, and what that process said first.

    Raises:
        PeersUnavailable: the tool can't be run here.
    """
    python = peers_python()
    log = folder / f"{tool.replace('/', '-')}.log"
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(
            [str(python), "-m", "benchmarks.peer_tools.runner", tool, str(folder), str(THREADS)],
            cwd=ROOT,
            env=child_environment(python, threads=THREADS),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    asked, answered = process.stdin, process.stdout
    try:
        first = next((line for line in answered if line.startswith("{")), "")  # tools print when they are imported
        if not first:
            lines = log.read_text(encoding="utf-8").strip().splitlines()
            raise PeersUnavailable(f"{tool} does not run: {lines[-1] if lines else 'it ended without a word'}")

        def call() -> None:
            asked.write("\n")
            asked.flush()
            if not answered.readline():
                raise RuntimeError(f"{tool} ended while it was measured:\n{log.read_text(encoding='utf-8')}")

        yield call, json.loads(first)
    finally:
        process.kill()
        process.wait()


def _summary(seconds: list[float]) -> dict[str, Any]:
    low, _, high = statistics.quantiles((1000 * value for value in seconds), n=4)
    return {**summarise(seconds).as_dict(), "lower_quartile_ms": round(low, 3), "upper_quartile_ms": round(high, 3)}


def _agreement(ours: np.ndarray, theirs: list[float]) -> float:
    """The cosine between two feature vectors: a tool that computes another network would show."""
    other = np.array(theirs)
    return round(float(ours @ other / (np.linalg.norm(ours) * np.linalg.norm(other))), 6)
