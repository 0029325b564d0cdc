from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from accelform.conversion.converter import build
from accelform.errors import (
    InvalidFeaturizerSpec,
    InvalidWeights,
    ModelSourceMissing,
    NotAModel,
    UnknownTensor,
    UserError,
)
from accelform.featurizers.preprocessing import Preprocess
from accelform.sources import open_source, read_source
from accelform.sources.fitting import preprocess_array
from accelform.sources.wrapper import load_yaml, parse_wrapper
from accelform_runtime.numerics.format import load_profile

Write = Callable[..., Path]


def answer(content: bytes, inputs: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return np.asarray(onnxruntime.InferenceSession(content, options).run(None, inputs)[0])


def packed(path: Path, *files: Path, folder: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in files:
            archive.write(file, f"{folder}{file.name}")
    return path


def test_an_onnx_file(write_onnx: Write) -> None:
    """Names, shapes and classes are the graph's own; single ends have the aliases that clients use."""
    source = read_source(write_onnx())

    assert (source.kind, source.framework, source.classes, source.preprocess) == ("onnx", "Onnx", 3, None)
    (wire,), (prediction,) = source.input_tensors, source.output_tensors
    assert (wire.name, wire.alias, wire.dtype, wire.shape) == ("image", "images", "DT_FLOAT", (-1, 3, 8, 8))
    assert (prediction.name, prediction.alias, prediction.shape) == ("probabilities", "output_alias", (-1, 3))
    assert source.family is None
    assert "ResNet 50" in source.mismatch or "VGG" in source.mismatch
    assert [file.name for file in source.files] == ["net.onnx"]


def test_the_converted_network_answers_as_the_file_does(write_onnx: Write) -> None:
    """In float32 the conversion changes nothing but the order of sums."""
    path = write_onnx()
    image = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)

    split = open_source(read_source(path))
    served = build(split, name="small", fmt=load_profile("float32")).proto

    expected = answer(path.read_bytes(), {"image": image})
    assert np.allclose(answer(served.SerializeToString(), {"image": image}), expected, atol=1e-6)


def test_weights_in_a_file_beside(write_onnx: Write) -> None:
    """External data inside the folder is part of the model: of its files, its digest and its answers."""
    whole, parts = write_onnx("a/net.onnx"), write_onnx("b/net.onnx", external="net.data")

    source = read_source(parts)

    assert [file.name for file in source.files] == ["net.onnx", "net.data"]
    a, b = open_source(read_source(whole)).parameters, open_source(source).parameters
    assert all(np.array_equal(a[name].weights, b[name].weights) for name in a if a[name].weights is not None)
    content = bytearray((parts.parent / "net.data").read_bytes())
    content[0] ^= 1
    (parts.parent / "net.data").write_bytes(content)
    assert read_source(parts).digest != source.digest


def test_digest_is_the_content(write_onnx: Write, tmp_path: Path) -> None:
    """Name, place, time and packing don't matter; one weight does."""
    path = write_onnx("a/net.onnx")
    copy = tmp_path / "b" / "other.onnx"
    copy.parent.mkdir()
    shutil.copyfile(path, copy)
    os.utime(copy, (0, 0))

    same = {read_source(place).digest for place in (path, path.parent, copy, packed(tmp_path / "net.zip", path))}

    assert len(same) == 1
    assert read_source(write_onnx("c/net.onnx", seed=1)).digest not in same


def test_archives_and_folders_around_a_model(write_onnx: Write, tmp_path: Path) -> None:
    """A zip with a folder in it, as people make them; it is unpacked for the moment only."""
    path = write_onnx("model/net.onnx", external="net.data")
    archive = packed(tmp_path / "model.zip", path, path.parent / "net.data", folder="model/")

    source = read_source(archive)
    split = open_source(source)

    assert source.digest == read_source(path).digest
    assert [file.name for file in source.files] == ["model.zip"]
    assert set(split.parameters) == set(open_source(read_source(path)).parameters)
    assert list((tmp_path / "imports").glob("unpacked-*")) == []


def test_a_wrapper_adds_labels_tensors_and_images(write_onnx: Write, tmp_path: Path) -> None:
    """With `preprocess` the wire carries encoded images under the names that Azure's clients send."""
    write_onnx("model/net.onnx")
    wrapper = tmp_path / "model" / "model.yaml"
    (tmp_path / "model" / "labels.txt").write_text("a\nb\nc\n")
    wrapper.write_text("model: net.onnx\nlabels: labels.txt\npreprocess: {order: BGR}\noutput_tensors: [scores]\n")

    source = read_source(wrapper)
    split = open_source(source)

    (wire,), (scores,) = source.input_tensors, source.output_tensors
    assert (wire.name, wire.alias, wire.dtype, wire.shape) == ("Placeholder:0", "images", "DT_STRING", (-1,))
    assert (scores.name, source.labels) == ("scores", ("a", "b", "c"))
    assert source.preprocess == split.preprocess == Preprocess(order="BGR")
    assert [file.name for file in source.files] == ["model.yaml", "net.onnx", "labels.txt"]
    assert source.digest == read_source(tmp_path / "model").digest != read_source(tmp_path / "model/net.onnx").digest
    assert split.labels == ("a", "b", "c")


def test_what_is_read_can_be_read_again_from_its_files_alone(write_onnx: Write, tmp_path: Path) -> None:
    """The store keeps `files` under their names; from these the same model comes."""
    write_onnx("model/weights/net.onnx", external="net.data")
    (tmp_path / "model" / "labels.txt").write_text("a\nb\nc\n")
    (tmp_path / "model" / "model.yaml").write_text("model: weights/net.onnx\nlabels: labels.txt\n")
    source = read_source(tmp_path / "model" / "model.yaml")

    for file in source.files:
        target = tmp_path / "elsewhere" / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file.path, target)

    again = read_source(tmp_path / "elsewhere" / source.path.name)
    assert (again.digest, again.labels, again.network) == (source.digest, source.labels, source.network)


def test_images_for_a_network_of_another_layout(write_onnx: Write) -> None:
    """Channels first in the file, pixels as the server decodes them on the wire: the answer is the same."""
    path = write_onnx(side=96)
    wrapper = path.with_name("model.yaml")
    wrapper.write_text("model: net.onnx\npreprocess: {order: BGR, resize: free}\n")
    pixels = np.random.default_rng(1).integers(0, 256, (120, 100, 3), dtype=np.uint8)

    served = build(open_source(read_source(wrapper)), name="small", fmt=load_profile("float32")).proto

    image = preprocess_array(pixels, 96, order="BGR", keep_aspect_ratio=False).transpose(2, 0, 1)[None]
    expected = answer(path.read_bytes(), {"image": image})
    assert np.allclose(answer(served.SerializeToString(), {"Placeholder:0": pixels[None]}), expected, atol=1e-4)


def preparing(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, last: bool = False) -> Path:
    """The network of `path` behind nodes that lead from `raw` to `image`."""
    model = onnx.load(path)
    side = model.graph.input[0].type.tensor_type.shape.dim[2].dim_value
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    shape = ["batch", side, side, 3] if last else ["batch", 3, side, side]
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("raw", kind, shape))
    tensors = {"scale": np.array(1 / 255, np.float32), "half": np.array(0.5, np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in tensors.items())
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("last", [False, True])
def test_images_for_a_network_that_prepares_them_itself(write_onnx: Write, last: bool) -> None:
    """Decoding and resizing is the server's, the network's own arithmetic stays: as onnxruntime on the pixels."""
    nodes = [
        helper.make_node("Cast", ["raw"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["unit"]),
        helper.make_node("Sub", ["unit", "half"], ["centred" if last else "image"]),
    ]
    if last:
        nodes.append(helper.make_node("Transpose", ["centred"], ["image"], perm=[0, 3, 1, 2]))
    path = preparing(write_onnx(side=96), *nodes, kind=TensorProto.UINT8 if last else TensorProto.FLOAT, last=last)
    wrapper = path.with_name("model.yaml")
    wrapper.write_text("model: net.onnx\npreprocess: {order: BGR, resize: free}\n")
    pixels = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)

    source = read_source(wrapper)
    served = build(open_source(source), name="small", fmt=load_profile("float32")).proto

    assert source.preprocess == Preprocess(order="BGR", means=False, keep_aspect_ratio=False)
    image = pixels[None, :, :, ::-1] if last else pixels[None, :, :, ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    expected = answer(path.read_bytes(), {"raw": np.ascontiguousarray(image)})
    assert np.allclose(answer(served.SerializeToString(), {"Placeholder:0": pixels[None]}), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "nodes", "message"),
    [
        ("{means: imagenet}", [("Sub", "half")], "takes means off itself"),
        ("{scaling_factor: 0.017}", [("Mul", "scale")], "scales its input itself"),
    ],
)
def test_only_what_would_be_done_twice_is_refused(
    write_onnx: Write, settings: str, nodes: list[tuple[str, str]], message: str
) -> None:
    """Nothing that was asked for is dropped silently."""
    ((op, constant),) = nodes
    path = preparing(write_onnx(), helper.make_node(op, ["raw", constant], ["image"]))
    wrapper = path.with_name("model.yaml")
    wrapper.write_text(f"model: net.onnx\npreprocess: {settings}\n")

    with pytest.raises(InvalidFeaturizerSpec, match=message):
        read_source(wrapper)


def test_what_a_network_does_not_do_itself_may_be_asked_for(write_onnx: Write) -> None:
    """Means for one that only scales."""
    path = preparing(write_onnx(), helper.make_node("Mul", ["raw", "scale"], ["image"]))
    wrapper = path.with_name("model.yaml")
    wrapper.write_text("model: net.onnx\npreprocess: {means: imagenet}\n")

    assert read_source(wrapper).preprocess == Preprocess(means=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: net.onnx\nlabel: x", "label is unknown"),
        ("model: ../net.onnx", "must stay inside"),
        ("model: /etc/net.onnx", "must stay inside"),
        ("model: [1]", "must name a file"),
        ("model: net.onnx\npreprocess: {order: GRB, scaling_factor: .nan, resize: x, crop: 1}", "4 problem"),
        ("model: net.onnx\npreprocess: 3", "must be a mapping"),
        ("model: net.onnx\ninput_tensors: [3]", "list of tensor names"),
    ],
)
def test_wrappers_with_problems(write_onnx: Write, text: str, message: str) -> None:
    """Each problem is named, all of them at once."""
    path = write_onnx().with_name("model.yaml")
    path.write_text(text)

    with pytest.raises(InvalidFeaturizerSpec, match=message):
        read_source(path)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("model: absent.onnx", ModelSourceMissing, "absent.onnx is missing"),
        ("model: model.yaml", NotAModel, "another YAML file"),
        ("model: net.onnx\nlabels: short.txt", InvalidWeights, r"2 line\(s\).*3 classes"),
        ("model: net.onnx\ninput_tensors: [absent:0]", UnknownTensor, "absent:0.*image"),
        ("model: net.onnx\noutput_tensors: [absent:0]", UnknownTensor, "absent:0.*probabilities"),
        ("model: net.onnx\ninput_tensors: [probabilities]", UserError, "net.onnx|model.yaml"),
    ],
)
def test_wrappers_that_do_not_fit(write_onnx: Write, text: str, error: type[UserError], message: str) -> None:
    """The message names the file, what is wrong, and what there is instead."""
    path = write_onnx().with_name("model.yaml")
    path.write_text(text)
    path.with_name("short.txt").write_text("a\nb\n")

    with pytest.raises(error, match=message):
        read_source(path)


def test_nan_weights_are_named(write_onnx: Write) -> None:
    """At conversion the array is named; nothing is served from it."""
    with pytest.raises(InvalidWeights, match=r"\bw\b|conv"):
        open_source(read_source(write_onnx(nan="w")))


def test_an_empty_side(write_onnx: Write) -> None:
    """A network over images without pixels is refused, not divided by."""
    with pytest.raises(UserError, match=r"net\.onnx"):
        read_source(write_onnx(side=0))


@pytest.mark.parametrize("content", [["a.onnx", "b.onnx"], [], ["readme.txt"], ["a.yaml", "b.yml"]])
def test_folders_without_one_model(write_onnx: Write, tmp_path: Path, content: list[str]) -> None:
    """What is there is listed."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in content:
        (folder / name).write_text("x")

    with pytest.raises(NotAModel, match=r"several models, a\.|holds no model"):
        read_source(folder)


def test_a_folder_changed_between(write_onnx: Write) -> None:
    """What is converted is what was identified."""
    path = write_onnx()
    source = read_source(path)
    write_onnx(seed=5)

    with pytest.raises(UserError, match="changed while"):
        open_source(source)


def test_an_opset_too_old(write_onnx: Write) -> None:
    """The message says which are fine."""
    path = write_onnx()
    model = onnx.load(path)
    model.opset_import[0].version = 9
    path.write_bytes(model.SerializeToString())

    with pytest.raises(UserError, match="opset 9"):
        read_source(path)


def test_documented_wrappers() -> None:
    """What docs/models.md shows is valid."""
    text = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(model: .*?)```", text, re.DOTALL)

    assert len(blocks) >= 2
    for block in blocks:
        assert parse_wrapper(load_yaml(block, origin="documentation"), origin="documentation").model


def test_importing_stays_light() -> None:
    """The Pulumi plugin loads this at start, so NumPy and onnx wait until they are used."""
    code = (
        "import sys, accelform.sources; print([m for m in ('numpy', 'onnx', 'h5py', 'tensorflow') if m in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"
