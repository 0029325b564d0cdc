"""Which conversions the hardware could have run: Azure ML had one bitstream per family, in one number format."""

from __future__ import annotations

from accelform.featurizers.families import FAMILIES

BITSTREAM_FORMAT = "bw-a10-cnn"


def bitstream(family: str | None, number_format: str, *, mismatch: str = "") -> str:
    """Azure ML's model id of the bitstream, e.g. `msfprn50`; empty where only the emulation runs.

    A network can be of a family and still differ, in its width for instance: then `mismatch` says how.
    """
    if family is None or mismatch or number_format != BITSTREAM_FORMAT:
        return ""
    return FAMILIES[family].quantized_model_id
