"""docs/featurizers.md, written from the families' table: `python -m accelform.featurizers.reference`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from accelform.featurizers.families import FAMILIES, IMAGE_TENSOR, Family
from accelform.featurizers.forecast import forecast
from accelform_runtime.network.network import Network

NUMBER_FORMAT = "bw-a10-cnn"

_INTRODUCTION = f"""# Featurizers

The networks that the FPGA has a configuration for. A featurizer is a network without its classifier: it runs on the
FPGA and gives features; the classifier on top runs on the CPU, so it can be yours. A detector gives its predictions
itself.
*Written from the code by `make generate`; edit `providers/accelform/featurizers/` instead.*

A [specification](models.md) names one:

```yaml
featurizer: densenet121
weights: {{source: file, path: featurizer.npz}}
classifier: {{path: classifier.npz, labels: labels.txt}}
```

Encoded images come in as `{IMAGE_TENSOR}`, for which `images` is another name. Names, versions and tensors are those of
Azure ML's accelerated models package, so that its clients find what they know.
"""

_PREPROCESSING = """
Every key of `preprocess` can be given in the specification; what is left out is the family's. `resize: aspect` makes
the shorter side 256 and cuts out the centre, `resize: free` stretches the whole image to the network's size. Then the
means 123.68, 116.779 and 103.939 are taken off, channels ordered, and the result multiplied by `scaling_factor`.
"""

_SIZES = f"""
## Size and time

Milliseconds of one image on the FPGA, forecast from the layers' shapes in the number format `{NUMBER_FORMAT}`. The
interval is as wide as public knowledge of the machine leaves it; only ResNet 50 has a published figure to compare with
(1.789 ms). `accelform estimate FAMILY` prints where every number is from, with `--layers` a row per convolution.
"""

_DETECTOR = """
## The detector's outputs

`ssd_vgg` has no classifier and no features: twelve tensors leave the FPGA, class scores (before the softmax) first,
then boxes. `out_0` to `out_11` are other names for them, in this order. A shape is that of a grid, its anchors at each
position, and their values; scores are of the background and up to 20 kinds of object, which is all that the FPGA's
deployment has room for.
"""

_DETECTION = """
```yaml
featurizer: ssd_vgg
weights: {source: file, path: detector.npz}
classes: 3
labels: labels.txt
```

`classes` counts without the background (default 20). Objects are read from the outputs with NumPy alone:

<!-- run by tests/unit/featurizers/test_reference.py -->

```python
from accelform_runtime.client import detect

(objects,) = detect(outputs, select_threshold=0.5, nms_threshold=0.45, top_k=400)
for box, kind, score in zip(objects.boxes, objects.classes, objects.scores):
    ymin, xmin, ymax, xmax = box  # shares of the image's height and width
```

There is one result per image, most probable objects first; `outputs` is what a client got, by name or in order. Every
argument is honoured: pairs of anchor and class count above `select_threshold`; the `top_k` best of them remain; each
removes the later ones of its class whose intersection over union with it reaches `nms_threshold`. `classes=(7, 15)`
looks for these only.
"""

_WEIGHTS = """
## Variables

Arrays are float32 under the names of the tf-slim originals, kernels as height × width × input × output.

"""

_NARROW = """
A network `width_multiplier` times as wide has the same layers with fewer channels. It is made wide when the model is
converted, without changing what it computes (Net2WiderNet, Chen et al. 2015): the FPGA's work is the full network's.
`source: seeded` makes random weights fitted to the network's own activations, for trying things out.
`source: imagenet` fetches what TensorFlow-Slim published, classifier included, once.
"""


def render() -> str:
    """The whole page as Markdown, with a final newline."""
    networks = {name: family.network() for name, family in FAMILIES.items()}
    parts = [
        _INTRODUCTION,
        "\n",
        _families(),
        "\n## Classifier\n\n",
        _classifiers(),
        "\n## Preprocessing\n\n",
        _preprocessing(),
        _PREPROCESSING,
        _SIZES,
        "\n",
        _sizes(networks),
        _DETECTOR,
        "\n",
        _detector(networks["ssd_vgg"]),
        _DETECTION,
        _WEIGHTS,
        _variables(networks),
        _NARROW,
    ]
    return "".join(parts)


def _families() -> str:
    head = ("`featurizer`", "Network", "Image", "Features", "Float32 id", "Quantized id")
    return _table(
        head,
        lambda family: (
            f"`{family.name}`",
            family.title,
            f"{family.image_size} × {family.image_size}",
            str(family.feature_length or "12 tensors"),
            f"`{family.model_id}` {family.model_version}",
            f"`{family.quantized_model_id}` {family.quantized_model_version}",
        ),
    )


def _classifiers() -> str:
    head = ("`featurizer`", "Output of the default classifier", "What it is")
    return _table(
        head,
        lambda family: (
            f"`{family.name}`",
            f"`{family.prediction_tensor}`" if family.prediction_tensor else "none",
            "predictions of its own" if family.prediction_tensor is None else _kind(family),
        ),
    )


def _kind(family: Family) -> str:
    return "probabilities" if family.softmax else "scores before the softmax"


def _preprocessing() -> str:
    head = ("`featurizer`", "`order`", "`scaling_factor`", "`resize`")
    return _table(
        head,
        lambda family: (
            f"`{family.name}`",
            family.preprocess.order,
            f"{family.preprocess.scaling_factor:g}",
            "aspect" if family.preprocess.keep_aspect_ratio else "free",
        ),
    )


def _sizes(networks: dict[str, Network]) -> str:
    head = ("`featurizer`", "Convolutions", "GMAC", "Million weights", "ms", "Interval", "Images/s")

    def row(family: Family) -> Sequence[str]:
        network = networks[family.name]
        estimate = forecast(network, number_format=NUMBER_FORMAT)
        weights = sum(prod(conv.weights_shape) for conv in network.convolutions)
        return (
            f"`{family.name}`",
            str(len(network.convolutions)),
            f"{network.multiply_accumulates / 1e9:.2f}",
            f"{weights / 1e6:.1f}",
            f"{estimate.latency_ms:.3f}",
            f"{estimate.latency_low_ms:.2f} to {estimate.latency_high_ms:.2f}",
            f"{estimate.throughput_per_second:.0f}",
        )

    return _table(head, row)


def _detector(network: Network) -> str:
    lines = ["| | Tensor | Shape |", "| --- | --- | --- |"]
    for index, output in enumerate(network.outputs):
        shape = " × ".join(str(length) for length in output.shape)
        lines.append(f"| `out_{index}` | `{output.tensor}` | {shape} |")
    return "\n".join(lines) + "\n"


def _variables(networks: dict[str, Network]) -> str:
    head = ("`featurizer`", "Variables", "First and last", "Narrowest", "Published")

    def row(family: Family) -> Sequence[str]:
        variables = networks[family.name].variables()
        names = list(variables)
        return (
            f"`{family.name}`",
            str(len(names)),
            f"`{names[0]}` {list(variables[names[0]])}, `{names[-1]}` {list(variables[names[-1]])}",
            f"1/{family.max_width_divisor}",
            f"`{family.checkpoint.file}`" if family.checkpoint else "none",
        )

    return _table(head, row)


def _table(head: Sequence[str], row: Callable[[Family], Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *(row(family) for family in FAMILIES.values())]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


if __name__ == "__main__":
    print(render(), end="")
