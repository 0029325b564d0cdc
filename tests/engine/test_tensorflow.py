"""A TensorFlow 1 SavedModel as Azure ML's SDK wrote them, from preview to answer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest

from accelform_runtime.client import PredictionClient

AZURE = Path(__file__).parents[1] / "contract" / "sources" / "data" / "azure"
PREDICTION = "classifier_1/tiny/predictions/Softmax:0"


@pytest.mark.timeout(1800)
def test_saved_model(project: Any) -> None:
    """Refused at preview, because no bitstream fits it; runs in emulation when asked to, under its own names."""
    if not os.environ.get("ACCELFORM_TENSORFLOW_PYTHON"):
        pytest.skip("needs TensorFlow: run `make tensorflow`, or set ACCELFORM_TENSORFLOW_PYTHON")
    shutil.copytree(AZURE, project.folder / "saved_model")
    project.configure(model_path="saved_model", model_name="tiny")

    refused = project.pulumi("preview", check=False)
    assert refused.code != 0
    assert "require_fpga_conversion" in refused.text
    assert "no FPGA topology matches" in refused.text

    project.configure(require_fpga_conversion=False)
    project.up()

    outputs = project.outputs()
    assert outputs["bitstream"] == ""
    page = Path(unquote(urlparse(outputs["report_url"]).path))
    assert "<title>" in page.read_text(encoding="utf-8")
    assert (page.parent / "import.log").is_file(), "what TensorFlow said is kept with the conversion"
    picture = (project.folder / "examples" / "digits" / "images" / "digit-4.png").read_bytes()
    with PredictionClient(outputs["scoring_uri"], access_token=outputs["primary_key"]) as client:
        by_alias = client.score_image(picture).outputs
        by_name = client.score_image(picture, "Placeholder:0").outputs
    assert (list(by_alias), list(by_name)) == (["output_alias"], [PREDICTION])
    assert by_alias["output_alias"].tolist() == by_name[PREDICTION].tolist()
    assert project.pulumi("preview", "--refresh", "--expect-no-changes").code == 0
    project.destroy()
