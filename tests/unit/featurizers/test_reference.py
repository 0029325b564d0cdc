"""docs/featurizers.md is what the code says, and what it shows works."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from accelform.featurizers import reference
from accelform.featurizers.families import FAMILIES

PAGE = Path(__file__).parents[3] / "docs" / "featurizers.md"


def test_the_page_is_current() -> None:
    """`make docs` writes it."""
    assert PAGE.read_text(encoding="utf-8") == reference.render()


def test_the_documented_detection_runs() -> None:
    """Copied as it is, on an answer in which one anchor is sure."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    outputs = {
        output.tensor: np.zeros((1, *output.shape), np.float32) for output in FAMILIES["ssd_vgg"].network().outputs
    }
    outputs["ssd_300_vgg/block8_box/Reshape_1:0"][0, 4, 4, 0, 7] = 20
    names: dict[str, object] = {"outputs": outputs}

    exec(code, names)

    assert names["kind"] == 7
    assert 0 < names["ymin"] < names["ymax"] < 1  # type: ignore[operator]
