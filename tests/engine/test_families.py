"""A classifier and a detector, in float32 and in block floating point, from two kinds of source, deployed and asked.

All families at full width are recognised in tests/unit/topology/test_families.py and tests/contract/providers, and
answer as their files do, made narrow, in tests/contract/runtime/test_families.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.support.exporting import TORCH, export, plain_outputs, softmax_head
from tests.support.ports import free_port

from accelform.featurizers.families import FAMILIES, IMAGE_TENSOR, Family
from accelform.featurizers.spec import SeededWeights
from accelform.featurizers.weights import load
from accelform_runtime.client import PredictionClient

PROGRAM = Path(__file__).parent / "programs" / "many_networks.py"
DEPLOYED = {name: FAMILIES[name] for name in ("densenet121", "ssd_vgg")}
FORMATS = ("float32", "bw-a10-cnn")
CLASSES = 7
SEED = 11
TIMEOUT_SECONDS = 60
PROOF_SECONDS = 300


@pytest.mark.timeout(1800)
def test_specifications(project: Any) -> None:
    """A specification each: encoded images in, the family's own tensors out, the same with and without proof."""
    _declare(project, {name: _specification(project.folder, family) for name, family in DEPLOYED.items()})

    outputs = _deployed(project)

    picture = (project.folder / "examples" / "digits" / "images" / "digit-4.png").read_bytes()
    for name, family in DEPLOYED.items():
        answers = {}
        for number_format in FORMATS:
            deployed = outputs[f"{name}-{number_format}".replace("_", "-")]
            expected = family.quantized_model_id if number_format == "bw-a10-cnn" else ""
            assert (deployed["bitstream"], deployed["mismatch"]) == (expected, "")
            with PredictionClient(deployed["uri"]) as client:
                answer = client.score_image(picture, IMAGE_TENSOR, timeout_seconds=TIMEOUT_SECONDS)
                answers[number_format] = answer.outputs
                if deployed["bitstream"]:
                    pictures = np.array([picture], dtype=np.object_)
                    _assert_proven(client, {IMAGE_TENSOR: pictures}, answer.outputs, name)
        tensors = [family.prediction_tensor] if family.prediction_tensor else list(family.feature_tensors)
        for number_format, given in answers.items():
            assert set(given) == set(tensors), f"{name} in {number_format} answers under its TensorFlow names"
        rounded = [not np.array_equal(answers["bw-a10-cnn"][tensor], answers["float32"][tensor]) for tensor in tensors]
        assert any(rounded), f"{name} is served in block floating point"
    project.destroy()


@pytest.mark.timeout(1800)
def test_onnx_files(project: Any) -> None:
    """An ONNX file each, as a framework exports it: answers are onnxruntime's on that very file."""
    models = {name: _exported(project.folder, family) for name, family in DEPLOYED.items()}
    _declare(project, {name: path.relative_to(project.folder).as_posix() for name, path in models.items()})

    outputs = _deployed(project)

    random = np.random.default_rng(SEED)
    for name, family in DEPLOYED.items():
        side = family.image_size
        image = random.normal(0, 40, (1, 3, side, side)).astype(np.float32)
        expected = _run(models[name], image)
        for number_format in FORMATS:
            deployed = outputs[f"{name}-{number_format}".replace("_", "-")]
            assert bool(deployed["bitstream"]) == (number_format == "bw-a10-cnn"), "recognised by its structure"
            with PredictionClient(deployed["uri"]) as client:
                answer = client.score_numpy_arrays({"pixels:0": image}, timeout_seconds=TIMEOUT_SECONDS).outputs
                assert set(answer) == set(expected)
                if number_format == "float32":
                    for tensor, values in expected.items():
                        np.testing.assert_allclose(answer[tensor], values, rtol=2e-3, atol=2e-4 * np.abs(values).max())
                else:
                    _assert_proven(client, {"pixels:0": image}, answer, name)
    project.destroy()


def _specification(folder: Path, family: Family) -> str:
    classifier = "" if family.classifier is None else f"classifier: {{classes: {CLASSES}, seed: {SEED}}}\n"
    text = f"featurizer: {family.name}\nweights: {{source: seeded, seed: {SEED}}}\n{classifier}"
    path = folder / "networks" / family.name / "model.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path.relative_to(folder).as_posix()


def _exported(folder: Path, family: Family) -> Path:
    network = family.network()
    variables = load(SeededWeights(seed=SEED), folder=folder, family=family)
    head = plain_outputs if family.classifier is None else softmax_head(CLASSES)
    path = folder / "networks" / f"{family.name}.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save(export(network, variables, TORCH, head), path)
    return path


def _declare(project: Any, paths: dict[str, str]) -> None:
    shutil.copy(PROGRAM, project.folder / "infra" / "__main__.py")
    networks = [
        {
            "name": name,
            "model_path": path,
            "services": [{"number_format": number_format, "port": free_port()} for number_format in FORMATS],
        }
        for name, path in paths.items()
    ]
    (project.folder / "networks.json").write_text(json.dumps(networks))


def _deployed(project: Any) -> dict[str, Any]:
    project.pulumi("up", "--yes", "--skip-preview", timeout_seconds=1200)
    assert project.pulumi("preview", "--expect-no-changes").code == 0
    outputs: dict[str, Any] = project.outputs()
    return outputs


def _run(path: Path, image: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pixels:0": image}), strict=True))


def _assert_proven(
    client: PredictionClient, inputs: dict[str, np.ndarray], answer: Mapping[str, np.ndarray], name: str
) -> None:
    """The answer is the number format's definition's, bit for bit."""
    proof = client.score_numpy_arrays(inputs, timeout_seconds=PROOF_SECONDS, certified=True)
    assert proof.exactness is not None
    for tensor, values in answer.items():
        assert np.array_equal(values, proof.outputs[tensor]), f"{name} {tensor}"
