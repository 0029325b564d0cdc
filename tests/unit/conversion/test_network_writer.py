from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from tests.support.networks import every_kind, image_for, seeded_parameters

from accelform.conversion.block_floating_point import functions
from accelform.conversion.exactness import check_exactness, open_session
from accelform.conversion.graph import FLOAT, GraphWriter, tensor_value
from accelform.conversion.network_writer import NetworkWriter
from accelform.conversion.split import SplitModel, TensorInfo
from accelform.featurizers.families import FAMILIES
from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import pack_parameters
from accelform_runtime.numerics import NumberFormat, load_profile, profile_names

BLOCKED = [name for name in profile_names() if load_profile(name).quantised]
IMAGE = "image:0"


def split(network: Network) -> SplitModel:
    """The network alone: the wire carries what it reads and gives."""
    maps = network.image
    shape = (-1, maps.height, maps.width, maps.channels)
    return SplitModel(
        network=network,
        parameters=seeded_parameters(network),
        family=None,
        image_tensor=IMAGE,
        inputs=(TensorInfo(name=IMAGE, alias="images", dtype="DT_FLOAT", shape=shape),),
        outputs=tuple(
            TensorInfo(name=output.tensor, alias=f"out_{index}", dtype="DT_FLOAT", shape=(-1, *output.shape))
            for index, output in enumerate(network.outputs)
        ),
    )


def graph(network: Network, fmt: NumberFormat) -> onnx.ModelProto:
    writer = GraphWriter()
    NetworkWriter(writer, network, pack_parameters(network, seeded_parameters(network), fmt), fmt).write(IMAGE)
    return writer.model(
        name="network",
        inputs=[tensor_value(IMAGE, FLOAT, [1, network.image.height, network.image.width, network.image.channels])],
        outputs=[tensor_value(output.tensor, FLOAT, [1, *output.shape]) for output in network.outputs],
        functions=functions(fmt),
        documentation="",
    )


@pytest.mark.parametrize("profile", BLOCKED)
def test_every_kind_of_step_equals_the_definition(profile: str) -> None:
    """Not a bit differs in any step or tensor, in any profile: all roundings, overflows and block sizes."""
    model = split(every_kind())

    exactness = check_exactness(model, image_for(model.network)[np.newaxis], number_format=profile, threads=1)

    assert len(exactness.layers) == len(model.network.steps) + len(model.network.outputs)
    assert exactness.different == ()


@pytest.mark.parametrize(
    ("family", "profile"),
    [
        *((family, "bw-a10-cnn") for family in FAMILIES),
        *((family, profile) for family in ("vgg16", "ssd_vgg") for profile in ("msfp12", "bw-s10-rnn", "intel-fp11")),
        ("resnet50", "msfp12"),
    ],
)
def test_families_equal_the_definition(family: str, profile: str) -> None:
    """Every layer of a narrow network of each family, and its tensors as served."""
    model = split(FAMILIES[family].network(width_divisor=32))

    exactness = check_exactness(model, image_for(model.network)[np.newaxis], number_format=profile, threads=1)

    assert exactness.different == ()
    assert sum(layer.values for layer in exactness.layers) > 300_000


def test_float32_follows_the_definition_within_rounding() -> None:
    """Without quantisers the graph is the plain network, up to float32's own order of addition."""
    model = split(every_kind())

    exactness = check_exactness(model, image_for(model.network)[np.newaxis], number_format="float32", threads=1)

    assert exactness.certificates == {}
    assert max(layer.largest_difference for layer in exactness.layers) < 1e-4


def test_tensors_have_their_names_and_shapes() -> None:
    """What leaves the FPGA is called and shaped as the network says, with a batch axis."""
    network = every_kind()
    model = graph(network, load_profile("bw-a10-cnn"))
    onnx.checker.check_model(model, full_check=True)

    session = open_session(model, threads=1)
    results = session.run(None, {IMAGE: image_for(network)[np.newaxis]})

    assert [item.name for item in session.get_outputs()] == [output.tensor for output in network.outputs]
    assert [result.shape for result in results] == [(1, *output.shape) for output in network.outputs]


def test_only_standard_operators_are_used() -> None:
    """The one own operator is a function of standard ones that the file carries."""
    model = graph(every_kind(), load_profile("bw-a10-cnn"))

    own = {node.op_type for node in model.graph.node if node.domain}
    assert own == {function.name for function in model.functions}
    assert all(node.domain == "" for function in model.functions for node in function.node)


def test_shared_maps_are_quantised_once() -> None:
    """ResNet's shortcut and first convolution share their quantiser: 49 serve 53 convolutions."""
    model = graph(FAMILIES["resnet50"].network(width_divisor=32), load_profile("bw-a10-cnn"))

    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["Conv"] == 53
    assert kinds["BlockFloatingPoint"] == 1
    assert kinds["BlockFloatingPointNonNegative"] == 48


def test_weights_are_stored_packed() -> None:
    """A byte per weight and one per block; no float32 weights beside biases, scales and single numbers."""
    model = graph(every_kind(), load_profile("msfp12"))

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert tensors["net/mixed/weights/mantissas"].data_type == onnx.TensorProto.INT8
    assert tensors["net/mixed/weights/exponents"].data_type == onnx.TensorProto.FLOAT8E8M0
    assert tuple(tensors["net/mixed/weights/exponents"].dims) == (256, 12, 3, 3)
    floats = [tensor for tensor in tensors.values() if tensor.data_type == onnx.TensorProto.FLOAT]
    assert max(np.prod(tensor.dims) for tensor in floats) <= 256


def test_a_runtime_unpacks_weights_once(tmp_path: Path) -> None:
    """onnxruntime folds the unpacking when it loads: no integer arithmetic on weights is left in what it runs."""
    path = str(tmp_path / "optimised.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = path
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    content = graph(every_kind(), load_profile("bw-a10-cnn")).SerializeToString()

    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    optimised = onnx.load(path).graph
    constants = {tensor.name: tensor.data_type for tensor in optimised.initializer}
    assert onnx.TensorProto.INT8 not in constants.values()
    assert all(constants[node.input[1]] == FLOAT for node in optimised.node if node.op_type == "Conv")
