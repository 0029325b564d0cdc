"""Which model specs mean the resident model, and how all others are refused."""

from __future__ import annotations

import pytest
from tests.support.served import served

from accelform_runtime.errors import InvalidRequest, UnknownModel, UnknownSignature
from accelform_runtime.protocol.model_pb2 import ModelSpec

LABELS = {"version_labels": {"stable": 3, "canary": 4}}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"name": "digits"},
        {"name": "digits-service"},
        {"name": "digits", "version": {"value": 3}, "signature_name": "serving_default"},
        {"version_label": "stable"},
    ],
)
def test_specs_of_the_resident_model(spec):
    """No name, either name, its version, a label of its version and its signature all mean it."""
    served(rules=LABELS).check(ModelSpec(**spec))


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ({"name": "other"}, UnknownModel, "'other' is not resident here; this service holds 'digits'"),
        ({"version": {"value": 4}}, UnknownModel, "version 4 of 'digits' is not resident; 3 is"),
        ({"version": {"value": 0}}, UnknownModel, "version 0"),
        ({"version_label": "canary"}, UnknownModel, "version 4"),
        ({"version_label": "next"}, InvalidRequest, "'next' is not known; known: canary, stable"),
        ({"signature_name": "other"}, InvalidRequest, "no signature 'other'; it has 'serving_default'"),
    ],
)
def test_other_specs(spec, error, words):
    """Another model or version is not found; an unknown label or signature is the caller's mistake."""
    with pytest.raises(error, match=words):
        served(rules=LABELS).check(ModelSpec(**spec))


def test_an_unknown_signature_of_predict():
    """Predict ends with another status for a signature there is not."""
    with pytest.raises(UnknownSignature):
        served().check(ModelSpec(signature_name="other"), unknown_signature=UnknownSignature)


def test_strict_specs_need_a_name():
    """Where TensorFlow Serving's rule is on, a call without a name is refused, and one with a name is not."""
    strict = served(rules={"strict_model_spec": True})

    strict.check(ModelSpec(name="digits"))
    with pytest.raises(InvalidRequest, match="model_spec has no name"):
        strict.check(ModelSpec(version={"value": 3}))


def test_what_an_answer_was_computed_by():
    """Name, version and signature are always told in full."""
    assert served().effective() == ModelSpec(name="digits", version={"value": 3}, signature_name="serving_default")
