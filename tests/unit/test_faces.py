"""What each room shows: another name in its face, or one less, is a decision."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module, util

import pytest

FACES = {
    "accelform._base": "faces locks progress waiting",
    "accelform.cli": "main",
    "accelform.report": """LIMIT_DB Fidelity Pixels Report Sample Settings find_samples make_report measure page sweep
        text_db write_html write_json write_report""",
    "accelform.resources": "ClusterClaim ComputeTarget ConvertedModel Image Model ServiceAccess Webservice Workspace",
    "accelform.store": "Store StoredObject catalog versions workspace",
    "accelform.targets": "edge kubernetes",
    "accelform.targets.kubernetes": """CHANGING LOOKING Address Cluster Gate NodePool PoolSpec Wish quota remove_left
        require_own rights""",
    "accelform_runtime.client": "Address Detections Exactness Modelled PredictionClient ScoreResult detect",
    "accelform_runtime.device": "Fpga",
    "accelform_runtime.native": "Engine unavailable_reason",
    "accelform_runtime.numerics": "NumberFormat load_profile profile_names",
    "accelform_runtime.timing": "ConvLayer Estimate FpgaSpec LayerEstimate Slot VirtualClock estimate load_spec",
}


@pytest.mark.parametrize("room", FACES)
def test_the_face_of_a_room(room: str) -> None:
    """It has these names and no other, each of them is there, and it says what the room is for."""
    package = import_module(room)

    assert sorted(package.__all__) == sorted(FACES[room].split())
    assert package.__doc__
    for name in package.__all__:
        assert hasattr(package, name) or util.find_spec(f"{room}.{name}"), name


def test_a_name_that_no_room_shows_is_an_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match=r"'accelform\.report' has no attribute 'nothing'"):
        _ = import_module("accelform.report").nothing


@pytest.mark.parametrize("room", ["accelform.report", "accelform.targets.kubernetes"])
def test_a_face_alone_costs_nothing(room: str) -> None:
    """What lies behind the names is imported with the first that is used."""
    heavy = ("jinja2", "kubernetes", "numpy", "onnx")
    code = f"import sys, {room}; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert printed.stdout.strip() == "[]"
