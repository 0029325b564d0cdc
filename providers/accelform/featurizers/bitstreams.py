"""Which conversions the hardware could have run: Azure ML had one bitstream per family, in one number format."""

from __future__ import annotations

from accelform.featurizers.families import FAMILIES

BITSTREAM_FORMAT = "bw-a10-cnn"


def bitstream(family: str | None, number_format: str) -> str:
    """Azure ML's model id of the bitstream, e.g. `msfprn50`; empty where only the emulation runs."""
    if family is None or number_format != BITSTREAM_FORMAT:
        return ""
    return FAMILIES[family].quantized_model_id
