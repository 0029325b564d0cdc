"""What a model's outputs mean: a score per class, a detector's scores and boxes, or features."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelform.conversion.split import SplitModel

BOX_COORDINATES = 4
SEVERAL_HEADS = 2


def scores_output(split: SplitModel) -> int | None:
    """Index of the output that holds a score per class; None where the model is no classifier.

    That is the only output, [1, classes] or one value per label, unless it is the family's own feature vector.
    """
    if len(split.outputs) != 1:
        return None
    (output,) = split.outputs
    features = output.name in {tensor.tensor for tensor in split.network.outputs} and split.family is not None
    vector = len(output.shape) == 2 or prod(map(abs, output.shape)) == len(split.labels)
    return 0 if vector and output.shape[-1] > 1 and not features else None


def class_outputs(split: SplitModel) -> tuple[int, ...]:
    """Indexes of a detector's outputs that hold scores per anchor; empty where the model is none.

    They are known by the names of the SSD family; of another network, by as many outputs of four coordinates.
    """
    from accelform.featurizers.networks.ssd_300_vgg import CLASS_TENSORS

    if named := tuple(index for index, output in enumerate(split.outputs) if output.name in CLASS_TENSORS):
        return named
    sides = [output.shape[-1] if len(output.shape) > SEVERAL_HEADS else 0 for output in split.outputs]
    boxes = sum(side == BOX_COORDINATES for side in sides)
    scores = tuple(index for index, side in enumerate(sides) if side > 1 and side != BOX_COORDINATES)
    return scores if boxes and boxes == len(scores) else ()
