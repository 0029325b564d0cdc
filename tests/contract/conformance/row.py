"""One situation, what TensorFlow Serving does in it, and what this service does."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

MODEL, SERVICE, VERSION = "resnet50-digits", "digits-service", 3
INPUT, OUTPUT = "Placeholder:0", "classifier_1/resnet_v1_50/predictions/Softmax:0"
CLASSES = 10
ROOT = "{root}"
"""Stands in requests for the folder of the server that may load models."""
KEY = "primary-key-0123456789abcdef"

Reply = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the conformance table, and the call that proves it."""

    rpc: str
    when: str
    """The situation, in words."""
    theirs: str
    """The status TensorFlow Serving ends with."""
    says: str = ""
    """What it says or does there, in our words."""
    source: str
    """Where that is written, below tensorflow_serving/, or in which project else."""
    ours: str = ""
    """Our status where it is another one."""
    why: str = ""
    """The reason of a difference; without one there is none."""

    request: dict[str, Any] = dataclasses.field(default_factory=dict)
    raw: bytes | None = None
    server: str = "keys"
    """Which server is called: a name in conftest.SERVERS."""
    key: str | None = KEY
    timeout: float = 30.0
    copies: int = 1
    """How many such calls are made at once; then one ending as `ours` is enough."""
    also: tuple[str, ...] = ()
    """Statuses that gRPC itself may put in the place of `expected` on the way."""
    naming: tuple[str, ...] = ()
    """Words that our refusal holds, so that the caller knows what to change."""
    reply: Callable[[Reply], bool] | None = None
    """What is true of an answer."""

    @property
    def expected(self) -> str:
        """Our status."""
        return self.ours or self.theirs


def image(red: int = 0) -> str:
    """A plain PNG in base64; `red` 0 is scored at once, 255 takes about half a second."""
    buffer = io.BytesIO()
    Image.new("RGB", (48, 40), (red, 90, 60)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def strings(*values: str) -> dict[str, Any]:
    """A DT_STRING tensor of rank 1 in protobuf's JSON form."""
    return {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": len(values)}]}, "string_val": list(values)}


def spec(name: str = MODEL, **more: Any) -> dict[str, Any]:
    """A ModelSpec; `more` are version (a number), version_label, signature_name."""
    return {"name": name, **more} if name else dict(more)


def example(**features: dict[str, Any]) -> dict[str, Any]:
    """A tf.Example."""
    return {"features": {"feature": features}}


def image_feature(value: str) -> dict[str, Any]:
    """A feature of one encoded image."""
    return {"bytes_list": {"value": [value]}}
