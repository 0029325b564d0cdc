"""TensorFlow Serving's wire format: message modules, service names, and tensors to and from NumPy."""

from __future__ import annotations

from typing import Final

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
GET_MODEL_METADATA: Final = f"/{PREDICTION_SERVICE}/GetModelMetadata"
LABELS_FIELD: Final = "accelform_labels"
"""A metadata field that GetModelMetadata has here: the classes' names, a google.protobuf.ListValue."""
ROUTE_PREFIX: Final = "/api/v1/service/"
"""What `x-ms-aml-grpc-service-route` holds before the service's name."""

AUTHORIZATION_KEY: Final = "authorization"
ROUTE_KEY: Final = "x-ms-aml-grpc-service-route"
REQUEST_ID_KEY: Final = "request_id"
FPGA_LATENCY_KEY: Final = "x-accelform-fpga-latency-ms"
FPGA_OCCUPANCY_KEY: Final = "x-accelform-fpga-occupancy-ms"
FPGA_QUEUE_KEY: Final = "x-accelform-fpga-queue-ms"
MEASURED_KEY: Final = "x-accelform-measured-ms"
ENGINE_KEY: Final = "x-accelform-engine"
"""Trailing: what computed the answer, `native` or `onnxruntime`."""
NUMBER_FORMAT_KEY: Final = "x-accelform-number-format"
BITSTREAM_KEY: Final = "x-accelform-bitstream"
"""Trailing: the family whose bitstream an FPGA would load, or NO_BITSTREAM."""
NO_BITSTREAM: Final = "none"
EXACTNESS_KEY: Final = "x-accelform-exactness"
"""In a request CERTIFICATE asks for an answer known to equal the definition; trailing it tells how that is known."""
CERTIFICATE: Final = "certificate"
SUMS_KEY: Final = "x-accelform-sums"
"""Trailing, with a certificate: sums proven independent of the order of addition, of all: `N/M`."""
