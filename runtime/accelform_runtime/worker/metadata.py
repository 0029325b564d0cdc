"""What travels beside the replies: what they were computed with."""

from __future__ import annotations

from accelform_runtime.device.exactness import Exactness
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.protocol import (
    BITSTREAM_KEY,
    ENGINE_KEY,
    EXACTNESS_KEY,
    NO_BITSTREAM,
    NUMBER_FORMAT_KEY,
    SUMS_KEY,
)

Metadata = tuple[tuple[str, str], ...]


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
