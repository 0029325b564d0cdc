"""What a client of TensorFlow Serving, and azureml.accel's own, gets from the server."""

from __future__ import annotations

import numpy as np
import pytest
from grpc import StatusCode

from accelform_runtime.protocol import model_pb2, predict_pb2, types_pb2

INPUT = "Placeholder:0"
OUTPUT = "classifier_1/resnet_v1_50/predictions/Softmax:0"


def test_azureml_client_request(service, image, request_of):
    """The request azureml.accel sends, without model_spec and output_filter, is answered with the batch in front."""
    response, call = service.predict(request_of(image(), input_name=INPUT))

    assert list(response.outputs) == [OUTPUT]
    output = response.outputs[OUTPUT]
    assert output.dtype == types_pb2.DT_FLOAT
    assert [dim.size for dim in output.tensor_shape.dim] == [1, 10]
    assert sum(output.float_val) == pytest.approx(1.0, abs=1e-5)
    assert dict(call.initial_metadata())["request_id"]


def test_scores_belong_to_the_image(service, image, request_of):
    """The probabilities are those of the sent pixels: another colour, another answer; the same, the same."""

    def scores(red: int, kind: str = "PNG") -> np.ndarray:
        response, _ = service.predict(request_of(image(red, kind=kind)))
        return np.array(response.outputs["output_alias"].float_val)

    assert np.array_equal(scores(0), scores(0, "BMP"))
    assert np.abs(scores(0) - scores(3)).max() > 1e-4


def test_alias_in_alias_out(service, image, request_of):
    """A call that names the input by its alias gets the output by its alias."""
    response, _ = service.predict(request_of(image(), input_name="images"))

    assert list(response.outputs) == ["output_alias"]


@pytest.mark.parametrize("names", [[OUTPUT], ["output_alias"], [OUTPUT, "output_alias"]])
def test_output_filter_answers_what_it_names(service, image, request_of, names):
    """output_filter takes tensor names and aliases and gets back exactly those keys."""
    response, _ = service.predict(request_of(image(), output_filter=names))

    assert sorted(response.outputs) == sorted(names)


def test_scalar_string(service, image, request_of):
    """A rank 0 DT_STRING is one image."""
    response, _ = service.predict(request_of(image(), rank=0))

    assert [dim.size for dim in response.outputs["output_alias"].tensor_shape.dim] == [1, 10]


def test_batch_runs_one_by_one(service, image, request_of):
    """Several images in one call come back in order, and occupy the modelled FPGA once each."""
    response, call = service.predict(request_of(image(0), image(2), image(0)))

    scores = np.array(response.outputs["output_alias"].float_val).reshape(3, 10)
    assert np.array_equal(scores[0], scores[2])
    assert not np.array_equal(scores[0], scores[1])
    trailing = dict(call.trailing_metadata())
    assert float(trailing["x-accelform-fpga-occupancy-ms"]) == pytest.approx(3 * 1.53)
    assert float(trailing["x-accelform-fpga-latency-ms"]) == pytest.approx(1.78 + 2 * 1.53)


def test_response_tells_the_effective_model(service, image, request_of):
    """The answer names the model, version and signature that were used."""
    response, _ = service.predict(request_of(image()))

    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("resnet50-digits", 3, "serving_default")


@pytest.mark.parametrize("name", ["", "resnet50-digits", "digits-service"])
def test_resident_model_by_any_of_its_names(service, image, request_of, name):
    """No name, the model's name and the service's name all mean the resident model."""
    spec = model_pb2.ModelSpec(name=name, version={"value": 3}, signature_name="serving_default")

    response, _ = service.predict(request_of(image(), model_spec=spec))

    assert response.model_spec.name == "resnet50-digits"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"name": "another"}, StatusCode.NOT_FOUND),
        ({"version": {"value": 4}}, StatusCode.NOT_FOUND),
        ({"version_label": "stable"}, StatusCode.INVALID_ARGUMENT),
        ({"signature_name": "regress"}, StatusCode.FAILED_PRECONDITION),
    ],
)
def test_other_models_are_refused(service, image, request_of, spec, code):
    """A model, version, label or signature that is not resident gets TensorFlow Serving's status."""
    error = service.refusal(request_of(image(), model_spec=model_pb2.ModelSpec(**spec)))

    assert error.code() is code


def test_bad_image_is_the_callers_fault(service, request_of):
    """Bytes that are no image, or only its first half, are INVALID_ARGUMENT with a text free of internals."""
    error = service.refusal(request_of(b"not an image"))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "not a JPEG, PNG, GIF or BMP" in error.details()
    assert dict(error.initial_metadata())["request_id"]


def test_truncated_image_is_the_callers_fault(service, image, request_of):
    """A cut image is refused, and the text names no library and no path."""
    error = service.refusal(request_of(image(kind="JPEG")[:-40]))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "cut short" in error.details()
    assert not any(word in error.details() for word in ("PIL", "/", "Traceback", ".py"))


def test_unknown_input_names_the_known_ones(service, image, request_of):
    """A wrong input name is INVALID_ARGUMENT and tells the right ones."""
    error = service.refusal(request_of(image(), input_name="image"))

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert INPUT in error.details()
    assert "'images'" in error.details()


def test_wrong_type_names_the_right_one(service):
    """A float tensor where images belong is INVALID_ARGUMENT naming both types."""
    request = predict_pb2.PredictRequest()
    request.inputs["images"].dtype = types_pb2.DT_FLOAT
    request.inputs["images"].float_val.append(1.0)

    error = service.refusal(request.SerializeToString())

    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "DT_STRING" in error.details()
    assert "DT_FLOAT" in error.details()


@pytest.mark.parametrize("names", [["nothing"], [OUTPUT, OUTPUT]])
def test_output_filter_refuses_unknown_and_repeated_names(service, image, request_of, names):
    """Unknown or repeated names in output_filter are INVALID_ARGUMENT."""
    assert service.refusal(request_of(image(), output_filter=names)).code() is StatusCode.INVALID_ARGUMENT


def test_message_beyond_the_limit(service, request_of):
    """A request above 16 MiB is refused, and one just below reaches the decoder."""
    limit = 16 * 1024 * 1024

    assert service.refusal(request_of(b"x" * limit)).code() is StatusCode.RESOURCE_EXHAUSTED
    assert service.refusal(request_of(b"x" * (limit - 1024))).code() is StatusCode.INVALID_ARGUMENT


def test_request_ids_lead_to_log_lines(service, image, request_of, eventually):
    """Each call's request_id is on one log line with its code and milliseconds."""
    _, call = service.predict(request_of(image()))
    request_id = dict(call.initial_metadata())["request_id"]

    lines = eventually(
        lambda: [line for line in service.events("request") if line["request_id"] == request_id], "the log line"
    )

    assert len(lines) == 1
    assert lines[0]["code"] == "OK"
    assert lines[0]["ms"] > 0


def test_measured_time_is_told(service, image, request_of):
    """Trailing metadata hold the measured milliseconds and the modelled latency of the bundle's estimate."""
    _, call = service.predict(request_of(image()))

    trailing = dict(call.trailing_metadata())
    assert float(trailing["x-accelform-measured-ms"]) > 0
    assert float(trailing["x-accelform-fpga-latency-ms"]) == 1.78
    assert float(trailing["x-accelform-fpga-queue-ms"]) >= 0
