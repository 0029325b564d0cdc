"""What a call asks of the FPGA, whatever method it came by."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from accelform_runtime.errors import InvalidRequest

MAX_REPLY_BYTES: Final = 4 * 1024 * 1024 - 64 * 1024
"""A client without channel options refuses replies above 4 MiB; the rest is room for headers."""
MAX_VALUES: Final = 65_536
"""Most images, tensors or examples in one call; a message of empty ones would fill the memory otherwise."""


class Question(abc.ABC):
    """A call that fits the resident model; its values are scored one at a time, in order.

    Attributes:
        count: how many values there are; none in an empty batch
        names: the tensor names of the outputs that each of them needs
    """

    count: int
    names: tuple[str, ...]

    @abc.abstractmethod
    def value(self, index: int) -> bytes | NDArray[Any]:
        """An encoded image, or the input tensor with batch dimension 1. Raises InvalidRequest."""

    @abc.abstractmethod
    def add(self, result: Mapping[str, NDArray[Any]]) -> None:
        """Takes the outputs for the next value, by tensor name.

        Raises InvalidRequest, at the first, when the reply would be larger than a client accepts.
        """

    @abc.abstractmethod
    def answer(self) -> bytes:
        """The reply, once each value's outputs are there. Raises InvalidRequest as `add` does."""


def check_count(count: int, what: str) -> None:
    """Raises InvalidRequest where a call has more values than are taken."""
    if count > MAX_VALUES:
        raise InvalidRequest(f"the call holds {count} {what}; at most {MAX_VALUES} are accepted, send several calls")


def check_size(size: int) -> None:
    """Raises InvalidRequest for a reply of more bytes than a client accepts."""
    if size > MAX_REPLY_BYTES:
        raise InvalidRequest(
            f"the reply would have {size} bytes, more than the {MAX_REPLY_BYTES} a client accepts; "
            "send fewer inputs or name fewer outputs in output_filter"
        )
