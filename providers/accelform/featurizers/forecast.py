"""What the FPGA will make of a network: latency with its bracket, occupancy, waits for weights; pure and quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accelform.errors import UnknownNumberFormat

if TYPE_CHECKING:
    from accelform_runtime.network.network import Network
    from accelform_runtime.timing.estimate import Estimate

FPGA = "bw-a10"


def forecast(network: Network, *, number_format: str) -> Estimate:
    """The forecast of one image at batch 1 with weights stored in `number_format`.

    Raises:
        UnknownNumberFormat: there is no such profile; the message lists those there are.
    """
    from accelform_runtime.errors import UnknownProfile
    from accelform_runtime.numerics.format import load_profile
    from accelform_runtime.timing.estimate import estimate
    from accelform_runtime.timing.spec import load_spec

    try:
        fmt = load_profile(number_format)
    except UnknownProfile as error:
        raise UnknownNumberFormat(str(error)) from error
    return estimate(network.conv_layers(), load_spec(FPGA), fmt)
