"""Every family, from an ONNX file as a framework exports it, behind the server: its own answers, in both formats.

With a thirty-second of the channels, for the time it takes; tests/engine/test_families.py deploys whole ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.support.exporting import TORCH, export, plain_outputs, random_variables, softmax_head

from accelform.conversion import convert
from accelform.featurizers.families import FAMILIES
from accelform.topology import split_onnx
from accelform_runtime.client import PredictionClient

PRIMARY = "primary-key-0123456789abcdef"
TIMEOUT_SECONDS = 120
NARROW = 32


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_answers_as_its_file_does(name: str, start: Callable[..., Any], tmp_path: Path) -> None:
    """In float32 as onnxruntime does on that very file; in block floating point as its definition does, bit for bit."""
    family = FAMILIES[name]
    network = family.network(width_divisor=NARROW)
    head = plain_outputs if family.classifier is None else softmax_head(7)
    model = export(network, random_variables(network), TORCH, head)
    side = family.image_size
    image = np.random.default_rng(11).normal(0, 1, (1, 3, side, side)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, {"pixels:0": image}), strict=True))

    for number_format in ("float32", "bw-a10-cnn"):
        folder = tmp_path / number_format
        convert(split_onnx(model), output_dir=folder, name=name, version="1", number_format=number_format)
        service = start(model_folder=folder)
        with PredictionClient(service.address, access_token=PRIMARY) as client:
            answer = client.score_numpy_arrays({"pixels:0": image}, timeout_seconds=TIMEOUT_SECONDS).outputs
            assert set(answer) == set(expected)
            if number_format == "float32":
                for tensor, values in expected.items():
                    np.testing.assert_allclose(answer[tensor], values, rtol=2e-3, atol=2e-4 * np.abs(values).max())
                continue
            proof = client.score_numpy_arrays({"pixels:0": image}, timeout_seconds=TIMEOUT_SECONDS, certified=True)
            assert proof.exactness is not None
            for tensor, values in answer.items():
                assert np.array_equal(values, proof.outputs[tensor]), tensor
            rounded = [not np.array_equal(answer[tensor], expected[tensor]) for tensor in names]
            assert any(rounded), "it is served in block floating point"
        assert service.terminate() == 0
