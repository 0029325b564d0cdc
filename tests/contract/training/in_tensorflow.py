"""The part of these tests that runs where TensorFlow is: one check after the other, by name, in one process.

Asked `["rounding", "/folder/to/write/into"]` it answers with the findings, a line of JSON each. A check only measures.
What must hold is said in the tests beside this file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.support.networks import every_kind, image_for
from tests.support.scripts import answer

from accelform.conversion.fold import fold_variables
from accelform.errors import AccelformError
from accelform.featurizers.networks.resnet_v1 import resnet_v1
from accelform.training import (
    Classifier,
    NetworkLayers,
    QuantizedResnet50,
    QuantizedSsdVgg,
    Resnet50,
    Settings,
    Vgg16,
    pointwise,
    quantise,
    write_specification,
)
from accelform.training.backend import keras, tf
from accelform_runtime.network.network import Network
from accelform_runtime.network.quantised import quantise_parameters
from accelform_runtime.network.reference import Reference
from accelform_runtime.numerics import quantiser as definition
from accelform_runtime.numerics.format import CHOICES, NumberFormat, load_profile, profile_names

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

NARROW = 32
DEFAULT = load_profile("bw-a10-cnn")


def rounding(_: Path) -> dict[str, Any]:
    """Values whose bits differ from the definition's, per profile and per combination of knobs, eagerly and not."""
    random = np.random.RandomState(0)
    formats = [load_profile(name) for name in profile_names()]
    sizes = ((1, 2, 1), (5, 5, 100), (7, 8, 16))
    knobs = itertools.product(sizes, CHOICES["rounding"], CHOICES["overflow"])
    formats += [
        replace(
            DEFAULT,
            name=f"{mantissa} {exponent} {block} {way} {overflow}",
            mantissa_bits=mantissa,
            exponent_bits=exponent,
            block_size=block,
            rounding=way,
            overflow=overflow,
        )
        for (mantissa, exponent, block), way, overflow in knobs
    ]
    found = {}
    for fmt in formats:
        graph = _in_graph(fmt)
        values = np.concatenate(_tricky(random))
        differing = int((_bits(definition.quantise(values, fmt=fmt, axis=1)) != _bits(graph(values))).sum())
        maps = values[:7].reshape(1, 7, 3, 37)
        differing += int(
            (_bits(definition.quantise(maps, fmt=fmt, axis=-1)) != _bits(quantise(maps, fmt=fmt, axis=-1))).sum()
        )
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16).astype(np.float32) if fmt.pointwise == "float16" else values
        differing += int((_bits(halves) != _bits(pointwise(values, fmt=fmt))).sum())
        found[fmt.name] = differing
    block = tf.constant([[1.0, float("nan"), 2.0, 3.0], [1.0, 2.0, float("inf"), 1.0], [1.0, 2.0, 3.0, 4.0]])
    not_finite = quantise(block, fmt=replace(DEFAULT, block_size=2), axis=1)
    return {"differing": found, "not_finite": np.isnan(not_finite).tolist()}


def _in_graph(fmt: NumberFormat) -> Callable[[np.ndarray], Any]:
    """Past TensorFlow's graph optimiser, which changes arithmetic where it believes that it may."""
    run: Callable[[np.ndarray], Any] = tf.function(lambda values: quantise(values, fmt=fmt, axis=1))
    return run


def _tricky(random: np.random.RandomState) -> list[np.ndarray]:
    """[n, 37, 3]: any bits, mixed magnitudes, just below powers of two, ties, zeros of both signs, subnormals."""
    shape = (12, 37, 3)
    any_bits = random.randint(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    powers = np.ldexp(np.float32(1), random.randint(-20, 18, shape)).astype(np.float32)
    return [
        np.where(np.isfinite(any_bits), any_bits, np.float32(0)),
        (random.randn(*shape) * np.ldexp(1.0, random.randint(-20, 17, (12, 1, 1)))).astype(np.float32),
        np.nextafter(powers, np.float32(0)) * random.choice(np.array([-1, 1], np.float32), shape),
        (random.randint(-600, 600, shape) * np.ldexp(0.5, random.randint(-8, 8, (12, 1, 1)))).astype(np.float32),
        np.zeros(shape, np.float32) * random.choice(np.array([-1, 1], np.float32), shape),
        (random.randint(-300, 300, shape) * 2.0**-129).astype(np.float32),
    ]


def _bits(values: Any) -> np.ndarray:
    return np.ascontiguousarray(np.asarray(values)).view(np.int32)


def gradients(_: Path) -> dict[str, Any]:
    """Of the rounded values' sum times 3, where values fit, saturate, and overflow the point-wise type."""
    fmt = replace(DEFAULT, block_size=2)
    values = tf.constant([0.3, 1.0, 65535.0, 2.0, 65536.0, 2.0, -1e9, -1e9])
    halves = tf.constant([0.1, 65519.0, 65520.0, -1e6])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([values, halves])
        blocks = tf.reduce_sum(quantise(values, fmt=fmt, axis=0)) * 3.0
        points = tf.reduce_sum(pointwise(halves, fmt=fmt)) * 3.0
    return {
        "blocks": tape.gradient(blocks, values).numpy().tolist(),
        "pointwise": tape.gradient(points, halves).numpy().tolist(),
    }


def networks(_: Path) -> dict[str, Any]:
    """Per network, number format and way of adding: the part of values that differ, and how far, step by step."""
    every = every_kind()
    deep = resnet_v1("resnet_v1_50", "features:0", width_divisor=NARROW, image_size=64)
    runs = [(every, profile, in_order) for profile in ("bw-a10-cnn", "msfp16") for in_order in (True, False)]
    runs += [(every, "float32", False), (deep, "bw-a10-cnn", True), (deep, "bw-a10-cnn", False)]
    found = {}
    for network, profile, in_order in runs:
        arrays, image, fmt = seeded_variables(network), image_for(network), load_profile(profile)
        parameters = quantise_parameters(network, fold_variables(network, arrays), fmt)
        reference = Reference(network, parameters, fmt, certify=True)
        reference.run(image)
        layers = NetworkLayers(network, Settings(number_format=fmt, in_order=in_order))
        layers.assign(arrays, origin="the test")
        run = tf.function(layers.values) if network is every else layers.values
        values = {name: value.numpy()[0] for name, value in run(tf.constant(image[None])).items()}
        wanted = reference.outputs
        found[f"{network.name} {profile} {'in order' if in_order else 'fast'}"] = {
            "steps": len(values),
            "differing": [name for name, value in values.items() if not np.array_equal(wanted[name], value)],
            "unproven": [name for name, certificate in reference.certificates.items() if not certificate.complete],
            "farthest": max(
                float(np.abs(wanted[name] - value).max() / np.abs(wanted[name]).max()) for name, value in values.items()
            ),
            "shapes": {name: list(value.shape) for name, value in layers(tf.constant(image[None])).items()},
        }
    return found


def seeded_variables(network: Network, seed: int = 3) -> dict[str, np.ndarray]:
    """Under their names; batch norm far from the identity."""
    random = np.random.RandomState(seed)
    draw: dict[str, Callable[[tuple[int, ...]], np.ndarray]] = {
        "gamma": lambda shape: random.uniform(0.4, 1.2, shape),
        "beta": lambda shape: random.normal(0, 0.2, shape),
        "biases": lambda shape: random.normal(0, 0.1, shape),
        "moving_mean": lambda shape: random.normal(0, 0.3, shape),
        "moving_variance": lambda shape: random.uniform(0.5, 2, shape),
        "weights": lambda shape: random.normal(0, np.sqrt(1.5 / np.prod(shape[:3])), shape),
    }
    return {
        name: draw[name.rpartition("/")[2]](shape).astype(np.float32) for name, shape in network.variables().items()
    }


def featurizers(folder: Path) -> dict[str, Any]:
    """Names and shapes; weights from one featurizer to the other and back; what doesn't fit."""
    single = Resnet50(width_divisor=NARROW)
    quantized = QuantizedResnet50(width_divisor=NARROW, number_format="msfp12")
    prediction = single.get_default_classifier(single.attach(), classes=7)
    file = single.save_weights(folder / "weights")
    quantized.restore_weights(file)
    back = Resnet50(width_divisor=NARROW, custom_weights_directory=folder / "weights")
    specification = write_specification(
        folder / "model" / "model.yaml", quantized, single.classifier, labels=[f"class {index}" for index in range(7)]
    )
    ssd = QuantizedSsdVgg(width_divisor=NARROW, classes=3)
    vgg = Vgg16(width_divisor=NARROW)
    return {
        "prediction": list(prediction.shape),
        "same_names": list(single.layers.variables) == list(quantized.layers.variables),
        "same_values": all(
            np.array_equal(values, other.layers.arrays()[name])
            for name, values in single.layers.arrays().items()
            for other in (quantized, back)
        ),
        "about": [
            [it.model_ref, it.version, it.number_format.name, it.input_tensor_name, it.input_dims]
            for it in (single, quantized, ssd, vgg)
        ],
        "outputs": [dict(zip(it.output_tensor_names, it.output_dims, strict=True)) for it in (single, ssd, vgg)],
        "attached": [list(tensor.shape) for tensor in ssd.attach()],
        "files": [path.name for path in specification],
    }


def problems(folder: Path) -> dict[str, str]:
    """What is said where something doesn't fit."""
    single = Resnet50(width_divisor=NARROW)
    single.get_default_classifier(single.attach(), classes=7)
    ssd = QuantizedSsdVgg(width_divisor=NARROW)
    return {
        "classifier": _problem(lambda: ssd.get_default_classifier(None)),
        "width": _problem(lambda: single.restore_weights(ssd.save_weights(folder / "other"))),
        "empty_folder": _problem(lambda: Resnet50(width_divisor=NARROW, custom_weights_directory=folder)),
        "image": _problem(lambda: single.attach(keras.Input((244, 244, 3)))),
        "labels": _problem(lambda: write_specification(folder / "m.yaml", single, labels=["one"])),
    }


def _problem(action: Callable[[], Any]) -> str:
    try:
        action()
    except (AccelformError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "none"


def training(_: Path) -> dict[str, Any]:
    """What a training step changes, frozen and not; how far a network learns in two bits."""
    found: dict[str, Any] = {}
    images = np.random.RandomState(0).normal(0, 60, (2, 224, 224, 3)).astype(np.float32)
    for name, arguments in {
        "frozen": {"is_frozen": True},
        "running statistics": {"is_training": False},
        "batch statistics": {"is_training": True},
    }.items():
        featurizer = QuantizedResnet50(width_divisor=NARROW, **arguments)
        head = Classifier(featurizer.family, 3, width_divisor=NARROW, logits=True)
        source = keras.Input(featurizer.input_dims[1:])
        model = keras.Model(source, head(featurizer.attach(source)))
        before = featurizer.layers.arrays() | head.arrays()
        model.compile(
            keras.optimizers.SGD(0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            run_eagerly=True,
        )
        model.fit(images, np.array([0, 2]), verbose=0)
        after = featurizer.layers.arrays() | head.arrays()
        moved = [name for name in before if not np.array_equal(before[name], after[name])]
        found[name] = {
            "trainable": len(model.trainable_variables),
            "variables": len(before),
            "moved": sorted({name.rpartition("/")[2] for name in moved}),
            "classifier_only": set(moved) <= set(head.arrays()),
        }
    found["losses"] = _two_bits()
    return found


def _two_bits() -> list[float]:
    """Mean losses of a small network in two mantissa bits that learns which quarter of an image is bright."""
    network = every_kind()
    fmt = replace(DEFAULT, mantissa_bits=2, block_size=16)
    layers = NetworkLayers(network, Settings(number_format=fmt, batch_statistics=False))
    layers.assign(seeded_variables(network), origin="the test")
    source = keras.Input((network.image.height, network.image.width, network.image.channels))
    features = layers(source)["features:0"]
    model = keras.Model(source, keras.ops.reshape(features, (-1, 10)))
    random = np.random.RandomState(5)
    truth = random.randint(0, 4, 64)
    images = random.normal(0, 0.3, (64, 17, 14, 3)).astype(np.float32)
    for image, quarter in zip(images, truth, strict=True):
        image[8 * (quarter // 2) :][:8, 7 * (quarter % 2) :][:, :7] += 2
    model.compile(keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    keras.utils.set_random_seed(0)
    history = model.fit(images, truth, batch_size=16, epochs=20, verbose=0)
    return [float(loss) for loss in history.history["loss"]]


CHECKS = {check.__name__: check for check in (rounding, gradients, networks, featurizers, problems, training)}

if __name__ == "__main__":
    answer(CHECKS)
