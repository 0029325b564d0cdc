"""Objects from a detector's outputs, against boxes computed by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelform_runtime.client.detection import GRIDS, OUTPUT_NAMES, Detections, anchors, detect, overlap, suppress
from accelform_runtime.errors import DetectionInvalid

ANCHORS = (4, 6, 6, 6, 4, 4)
BACKGROUND = 10.0
"""Score of the background where nothing is; any other class's probability is then below 0.0001."""

Outputs = dict[str, np.ndarray]


def nothing(*, images: int = 1, classes: int = 20) -> Outputs:
    """Twelve outputs without any object."""
    scores = [np.zeros((images, g, g, a, classes + 1), np.float32) for g, a in zip(GRIDS, ANCHORS, strict=True)]
    for array in scores:
        array[..., 0] = BACKGROUND
    boxes = [np.zeros((images, g, g, a, 4), np.float32) for g, a in zip(GRIDS, ANCHORS, strict=True)]
    return dict(zip(OUTPUT_NAMES, scores + boxes, strict=True))


def put(
    outputs: Outputs, block: str, place: tuple[int, int, int], kind: int, *, score: float = 20.0, image: int = 0
) -> None:
    """An object of class `kind` at the anchor (row, column, number) of a level."""
    outputs[f"ssd_300_vgg/{block}_box/Reshape_1:0"][(image, *place, kind)] = score


def probability(score: float, *, classes: int = 20) -> float:
    others = math.exp(BACKGROUND) + (classes - 1)
    return math.exp(score) / (math.exp(score) + others)


def only(outputs: Outputs, **settings: Any) -> Detections:
    (found,) = detect(outputs, **settings)
    return found


def test_anchors_by_hand() -> None:
    """Level order, row by row; squares first, then wide and high ones."""
    found = anchors()

    assert found.shape == (8432, 4)
    np.testing.assert_allclose(found[0], [4 / 300, 4 / 300, 21 / 300, 21 / 300])
    np.testing.assert_allclose(found[1], [4 / 300, 4 / 300, math.sqrt(21 * 45) / 300, math.sqrt(21 * 45) / 300])
    np.testing.assert_allclose(found[2, 2:], [21 * math.sqrt(2) / 300, 21 / math.sqrt(2) / 300])
    np.testing.assert_allclose(found[3, 2:], [21 / math.sqrt(2) / 300, 21 * math.sqrt(2) / 300])
    np.testing.assert_allclose(found[4, :2], [12 / 300, 4 / 300])
    np.testing.assert_allclose(found[37 * 4, :2], [4 / 300, 12 / 300])
    first_of_block7 = 37 * 37 * 4
    np.testing.assert_allclose(found[first_of_block7], [8 / 300, 8 / 300, 45 / 300, 45 / 300])
    np.testing.assert_allclose(found[first_of_block7 + 4, 2:], [45 * math.sqrt(3) / 300, 45 / math.sqrt(3) / 300])
    np.testing.assert_allclose(found[-4], [0.5, 0.5, 261 / 300, 261 / 300])
    np.testing.assert_allclose(found[-3, 2:], [math.sqrt(261 * 315) / 300] * 2)


def test_nothing_is_found_in_nothing() -> None:
    """Empty arrays of the right types."""
    found = only(nothing())

    assert len(found) == 0
    assert (found.boxes.shape, found.boxes.dtype) == ((0, 4), np.float32)
    assert (found.classes.dtype, found.scores.dtype) == (np.int64, np.float32)


def test_an_unmoved_box_is_its_anchor() -> None:
    """Block 8, row 4, column 2, the first anchor: 99 pixels square around (80, 144)."""
    outputs = nothing()
    put(outputs, "block8", (4, 2, 0), kind=7)

    found = only(outputs)

    expected = np.array([144 - 49.5, 80 - 49.5, 144 + 49.5, 80 + 49.5]) / 300
    np.testing.assert_allclose(found.boxes, [expected], rtol=1e-6)
    assert found.classes.tolist() == [7]
    np.testing.assert_allclose(found.scores, [probability(20)], rtol=1e-6)


def test_a_moved_box_by_hand() -> None:
    """Centre moves by tenths of the anchor's size, sizes by exp of fifths; x comes before y in the output."""
    outputs = nothing()
    put(outputs, "block9", (2, 2, 2), kind=1)
    outputs["ssd_300_vgg/block9_box/Reshape:0"][0, 2, 2, 2] = [1.0, -2.0, math.log(0.5) * 5, math.log(2) * 5]

    found = only(outputs)

    width, height = 153 * math.sqrt(2) / 300, 153 / math.sqrt(2) / 300
    x, y = 160 / 300 + 0.1 * width, 160 / 300 - 0.2 * height
    np.testing.assert_allclose(found.boxes, [[y - height, x - width / 4, y + height, x + width / 4]], rtol=1e-6)


def test_boxes_are_cut_to_the_image_and_dropped_outside_it() -> None:
    """The largest anchor reaches over all edges; one that has moved out is no object."""
    outputs = nothing()
    put(outputs, "block11", (0, 0, 1), kind=1)
    outputs["ssd_300_vgg/block11_box/Reshape:0"][0, 0, 0, 1, 2:] = 5
    put(outputs, "block4", (0, 0, 0), kind=1)
    outputs["ssd_300_vgg/block4_box/Reshape:0"][0, 0, 0, 0, :2] = -100

    assert only(outputs).boxes.tolist() == [[0, 0, 1, 1]]


def test_huge_boxes_do_not_overflow() -> None:
    """A size beyond float64 is cut like any other."""
    outputs = nothing()
    put(outputs, "block11", (0, 0, 0), kind=1)
    outputs["ssd_300_vgg/block11_box/Reshape:0"][...] = 3e38

    outputs["ssd_300_vgg/block11_box/Reshape:0"][..., :2] = 0

    assert only(outputs).boxes.tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize(("threshold", "count"), [(0.01, 2), (0.2, 2), (0.45, 1), (0.7, 1), (0.9, 0)])
def test_select_threshold_is_honoured(threshold: float, count: int) -> None:
    """At one anchor two classes of probability 0.73 and 0.27: their scores differ by one, the background's is low."""
    outputs = nothing(classes=2)
    outputs["ssd_300_vgg/block10_box/Reshape_1:0"][0, 1, 1, 0] = [-50, 1, 0]

    found = only(outputs, select_threshold=threshold)

    assert found.classes.tolist() == [1, 2][:count]
    np.testing.assert_allclose(found.scores, [1 / (1 + math.exp(-1)), 1 / (1 + math.e)][:count], rtol=1e-6)


def test_a_probability_equal_to_the_threshold_does_not_count() -> None:
    """It has to exceed it."""
    outputs = nothing(classes=1)
    outputs["ssd_300_vgg/block11_box/Reshape_1:0"][0, 0, 0, 0] = [0, 0]

    assert len(only(outputs, select_threshold=0.5)) == 0
    assert len(only(outputs, select_threshold=0.4999999)) == 1


@pytest.mark.parametrize(("threshold", "kept"), [(0.51, 1), (0.512, 2), (1.0, 2)])
def test_nms_threshold_is_honoured(threshold: float, kept: int) -> None:
    """Two squares of 99 pixels, 32 apart: they share 67 of 131 columns, 0.5115."""
    outputs = nothing()
    put(outputs, "block8", (4, 4, 0), kind=3, score=21)
    put(outputs, "block8", (4, 5, 0), kind=3, score=20)

    found = only(outputs, nms_threshold=threshold)

    assert len(found) == kept
    assert found.scores[0] == pytest.approx(probability(21))


def test_an_overlap_equal_to_the_threshold_is_too_much() -> None:
    """Two unit squares that have half of each in common: a third."""
    boxes = np.array([[0, 0, 1, 1], [0, 0.5, 1, 1.5]])

    assert suppress(boxes, np.array([1, 1]), nms_threshold=1 / 3).tolist() == [0]
    assert suppress(boxes, np.array([1, 1]), nms_threshold=0.34).tolist() == [0, 1]


def test_other_classes_are_not_suppressed() -> None:
    """Two kinds may be in one place."""
    outputs = nothing()
    put(outputs, "block8", (4, 4, 0), kind=3)
    put(outputs, "block8", (4, 4, 1), kind=4)

    assert sorted(only(outputs).classes) == [3, 4]


def test_top_k_comes_before_suppression() -> None:
    """The best two overlap, so of the best two one stays; of the best three, two."""
    outputs = nothing()
    put(outputs, "block8", (4, 4, 0), kind=3, score=22)
    put(outputs, "block8", (4, 4, 1), kind=3, score=21)
    put(outputs, "block8", (0, 9, 0), kind=3, score=20)

    assert [len(only(outputs, top_k=count)) for count in (1, 2, 3, 400)] == [1, 1, 2, 2]


def test_only_some_classes() -> None:
    """What isn't asked for takes no place among the best."""
    outputs = nothing()
    for index, kind in enumerate((1, 5, 9)):
        put(outputs, "block7", (5, 4 * index, 0), kind=kind, score=22 - index)

    assert only(outputs, classes=(5, 9), top_k=2).classes.tolist() == [5, 9]
    assert only(outputs, classes=(9,)).classes.tolist() == [9]
    assert len(only(outputs, classes=())) == 0


def test_every_image_of_a_batch_by_itself() -> None:
    """One result per image, in order."""
    outputs = nothing(images=2)
    put(outputs, "block7", (5, 5, 0), kind=2, image=1)

    first, second = detect(outputs)

    assert (len(first), second.classes.tolist()) == (0, [2])


def test_ways_to_give_the_outputs() -> None:
    """By tensor names, by aliases, in order; with the batch axis or without: the same."""
    outputs = nothing()
    put(outputs, "block7", (5, 5, 0), kind=2)
    aliases = {f"out_{index}": array for index, array in enumerate(outputs.values())}
    plain = [array[0].tolist() for array in outputs.values()]

    for given_as in (outputs, aliases, list(outputs.values()), plain):
        (found,) = detect(given_as)
        assert found.classes.tolist() == [2]


def test_equal_scores_keep_their_order() -> None:
    """Level, row, column, anchor decide among equals, so the answer is always the same."""
    outputs = nothing()
    for place in ((0, 0, 0), (0, 9, 0), (9, 0, 0), (9, 9, 0)):
        put(outputs, "block8", place, kind=1)

    found = only(outputs)

    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 > 0.5
    assert centres.tolist() == [[False, False], [False, True], [True, False], [True, True]]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"select_threshold": 1.0}, "select_threshold is 1.0; it must be from 0 to below 1"),
        ({"select_threshold": math.nan}, "select_threshold is nan"),
        ({"nms_threshold": 0.0}, "nms_threshold is 0.0; it must be above 0, up to 1"),
        ({"top_k": 0}, "top_k is 0; it must be at least 1"),
        ({"classes": (0, 21)}, "class 0 is not one of 1 to 20; class 21 is not one of 1 to 20"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], problem: str) -> None:
    """Each is named with what is allowed."""
    with pytest.raises(DetectionInvalid, match=problem):
        only(nothing(), **settings)


def test_outputs_that_do_not_fit_are_all_named() -> None:
    """Missing ones first; then every wrong shape and every NaN at once."""
    outputs = nothing()
    with pytest.raises(DetectionInvalid, match=r"block9_box/Reshape_1:0 missing"):
        detect({name: array for name, array in outputs.items() if "block9_box/Reshape_1" not in name})
    with pytest.raises(DetectionInvalid, match="there are 11 instead of 12"):
        detect(list(outputs.values())[:11])
    outputs["ssd_300_vgg/block4_box/Reshape:0"] = np.zeros((1, 38, 38, 4, 4))
    outputs["ssd_300_vgg/block7_box/Reshape:0"][0, 0, 0, 0, 0] = np.nan
    with pytest.raises(
        DetectionInvalid, match=r"shape \[1, 38, 38, 4, 4\] instead of \[1, 37, 37, 4, 4\]; .*block7.*NaN"
    ):
        detect(outputs)
    with pytest.raises(DetectionInvalid, match="instead of"):
        detect([np.float32(0)] * 12)


def box_strategy() -> st.SearchStrategy[tuple[float, float, float, float]]:
    side = st.floats(0, 1, width=16)
    return st.tuples(side, side, side, side).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    )


@settings(max_examples=100)
@given(
    boxes=st.lists(st.tuples(box_strategy(), st.integers(1, 3)), max_size=12),
    threshold=st.floats(0.0625, 1),
)
def test_suppression_leaves_only_what_it_should(
    boxes: list[tuple[tuple[float, float, float, float], int]], threshold: float
) -> None:
    """Kept ones of a class don't reach the threshold among each other; each removed one is reached by a better one."""
    places = np.array([box for box, _ in boxes], np.float64).reshape(-1, 4)
    kinds = np.array([kind for _, kind in boxes], np.int64)

    kept = suppress(places, kinds, nms_threshold=threshold).tolist()

    for index in range(len(boxes)):
        better = [k for k in kept if k < index and kinds[k] == kinds[index]]
        reached = bool((overlap(places[index], places[better]) >= threshold).any())
        assert reached == (index not in kept)


@settings(max_examples=100)
@given(first=box_strategy(), second=box_strategy())
def test_overlap_is_symmetric_and_a_share(
    first: tuple[float, float, float, float], second: tuple[float, float, float, float]
) -> None:
    """From 0 to 1, the same both ways, 1 with itself unless empty."""
    one, two = np.array(first), np.array(second)

    forth, back = overlap(one, two[None])[0], overlap(two, one[None])[0]

    assert forth == back
    assert 0 <= forth <= 1 + 1e-12
    area = (one[2] - one[0]) * (one[3] - one[1])
    assert overlap(one, one[None])[0] == (1 if area > 0 else 0)


def test_it_needs_numpy_only() -> None:
    """A client has no framework; post-processing asks for none."""
    code = (
        "import sys, accelform_runtime.client.detection;"
        "print([name for name in ('tensorflow', 'onnxruntime', 'onnx', 'accelform') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert result.stdout.strip() == "[]"
