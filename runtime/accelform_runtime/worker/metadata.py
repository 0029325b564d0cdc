"""What travels beside the replies: what they were computed with."""

from __future__ import annotations

from collections.abc import Iterable

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import InvalidRequest
from accelform_runtime.protocol import (
    BITSTREAM_KEY,
    CERTIFICATE,
    ENGINE_KEY,
    EXACTNESS_KEY,
    NO_BITSTREAM,
    NUMBER_FORMAT_KEY,
    SUMS_KEY,
)

Metadata = tuple[tuple[str, str], ...]


def asks_for_certificate(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Whether a call wants an answer that is known to equal the definition.

    Raises InvalidRequest for a wish there is not.
    """
    for name, value in metadata:
        if name == EXACTNESS_KEY:
            if value != CERTIFICATE:
                raise InvalidRequest(f"metadata {EXACTNESS_KEY} must be {CERTIFICATE!r}, or be left out")
            return True
    return False


def model_metadata(fpga: Fpga) -> Metadata:
    """The same for every answer of a resident model."""
    return (
        (ENGINE_KEY, fpga.engine),
        (NUMBER_FORMAT_KEY, fpga.bundle.number_format),
        (BITSTREAM_KEY, fpga.bundle.family or NO_BITSTREAM),
    )


def exactness_metadata(exactness: Exactness) -> Metadata:
    """Why one answer equals the definition."""
    how = (EXACTNESS_KEY, exactness.how)
    return (how, (SUMS_KEY, f"{exactness.proven}/{exactness.sums}")) if exactness.sums else (how,)
