"""What TensorFlow Serving does in each situation, read in its source, and what this service does: the same, or why not.

docs/protocol.md shows these rows; the tests call the service once for each, with three packages' stubs.
"""

from __future__ import annotations

from tests.contract.conformance.row import Row
from tests.contract.conformance.rows import inference, models, predict, rest

ROWS: tuple[Row, ...] = (*predict.ROWS, *inference.ROWS, *models.ROWS)
"""Calls over gRPC."""

REST_ROWS = rest.ROWS
"""Calls over HTTP."""
