"""A detector as a conversion delivers it, behind the server: an image in, twelve tensors out, objects from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.support.networks import seeded_parameters

from accelform.conversion import convert
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.featurizers.families import FAMILIES
from accelform_runtime.client import PredictionClient
from accelform_runtime.client.detection import OUTPUT_NAMES, detect

PRIMARY = "primary-key-0123456789abcdef"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """SSD-VGG with a thirty-second of its channels and seeded weights, converted from end to end."""
    family = FAMILIES["ssd_vgg"]
    network = family.network(width_divisor=32)
    split = SplitModel(
        network=network,
        parameters=seeded_parameters(network),
        family=family.name,
        image_tensor=family.image_tensor,
        inputs=(TensorInfo(name="Placeholder:0", alias="images", dtype="DT_STRING", shape=(-1,)),),
        outputs=tuple(
            TensorInfo(name=output.tensor, alias=f"out_{index}", dtype="DT_FLOAT", shape=(-1, *output.shape))
            for index, output in enumerate(network.outputs)
        ),
        preprocess=family.preprocess,
        labels=tuple(f"kind {number}" for number in range(1, 21)),
    )
    folder = tmp_path_factory.mktemp("detector") / "model"
    convert(split, output_dir=folder, name="detector", version="1", number_format="bw-a10-cnn")
    return folder


@pytest.fixture(scope="module")
def clients(bundle, tmp_path_factory, started, ready_service):
    """A client of the engine that is chosen, and one of onnxruntime."""
    folder = tmp_path_factory.mktemp("services")
    services = [ready_service(started(folder / name, bundle, {"engine": name})) for name in ("auto", "onnxruntime")]
    clients = [PredictionClient(service.address, access_token=PRIMARY) for service in services]
    yield clients
    for client in clients:
        client.close()


def test_twelve_outputs(clients, image):
    """Every output comes back under its alias, in the shape of its level, and both engines give the definition's."""
    chosen, onnx = clients

    result = onnx.score_image(image(), certified=True, timeout_seconds=60)
    other = chosen.score_image(image(), timeout_seconds=60)

    assert list(result.outputs) == [f"out_{index}" for index in range(12)]
    assert result.outputs["out_0"].shape == (1, 37, 37, 4, 21)
    assert result.outputs["out_11"].shape == (1, 1, 1, 4, 4)
    assert result.exactness.how in ("proven", "definition")
    assert result.bitstream == "ssd_vgg"
    if other.engine == "native":
        for name, values in result.outputs.items():
            assert np.array_equal(values, other.outputs[name]), name


def test_objects(clients, image):
    """What the client makes of the answer honours its thresholds."""
    result = clients[0].score_image(image(90), timeout_seconds=60)

    (everything,) = detect(result.outputs, select_threshold=0.0, top_k=50)
    (few,) = detect(result.outputs, select_threshold=0.0, top_k=50, classes=[7])

    assert 0 < len(everything) <= 50
    assert set(few.classes) == {7}


def test_filter_and_batch(clients, image):
    """Chosen tensors of two images, in order, by tensor names."""
    batch = np.array([image(0), image(200)], dtype=np.object_)
    wanted = [OUTPUT_NAMES[5], OUTPUT_NAMES[11]]

    both = clients[0].score_numpy_arrays({"images": batch}, wanted, timeout_seconds=60)
    second = clients[0].score_image(image(200), "Placeholder:0", wanted, timeout_seconds=60)

    assert sorted(both.outputs) == sorted(wanted)
    for name in wanted:
        assert np.array_equal(both.outputs[name][1], second.outputs[name][0])


def test_command(clients, image, tmp_path, capsys):
    """accelform score shows objects, as a table and as JSON."""
    from accelform.cli.main import main

    path, key_file, labels = tmp_path / "photo.png", tmp_path / "key", tmp_path / "labels.txt"
    path.write_bytes(image(120))
    key_file.write_text(PRIMARY)
    labels.write_text("\n".join(f"kind {number}" for number in range(1, 21)))
    arguments = ["score", str(path), "--address", clients[0].address.target, "--key-file", str(key_file)]
    arguments += ["--labels", str(labels), "--threshold", "0", "--top", "3", "--timeout", "60"]

    assert main(arguments) == 0
    table = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)

    assert table[0].split()[0] == "object"
    assert [line.startswith("kind ") for line in table[1:4]] == [True] * 3
    assert len(content["objects"]) == 3
    assert content["objects"][0]["label"].startswith("kind ")
