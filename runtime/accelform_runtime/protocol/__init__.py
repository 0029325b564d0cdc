"""TensorFlow Serving's wire format: message modules, service names, and tensors to and from NumPy."""

from __future__ import annotations

from typing import Final

PREDICTION_SERVICE: Final = "tensorflow.serving.PredictionService"
PREDICT: Final = f"/{PREDICTION_SERVICE}/Predict"
ROUTE_PREFIX: Final = "/api/v1/service/"
"""What `x-ms-aml-grpc-service-route` holds before the service's name."""

AUTHORIZATION_KEY: Final = "authorization"
ROUTE_KEY: Final = "x-ms-aml-grpc-service-route"
REQUEST_ID_KEY: Final = "request_id"
FPGA_LATENCY_KEY: Final = "x-accelform-fpga-latency-ms"
FPGA_OCCUPANCY_KEY: Final = "x-accelform-fpga-occupancy-ms"
FPGA_QUEUE_KEY: Final = "x-accelform-fpga-queue-ms"
MEASURED_KEY: Final = "x-accelform-measured-ms"
