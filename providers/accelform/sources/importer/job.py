"""What the importer is asked, and what it answers: plain data in files of one folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

JOB_FILE = "job.json"
FACTS_FILE = "facts.json"
PROBLEM_FILE = "problem.json"
MODEL_FILE = "model.onnx"
FRONT_FILE = "front.npz"
IMAGES_FOLDER = "images"
OPSET = 18
"""The newest that tf2onnx 1.17 writes."""


@dataclass(frozen=True)
class Job:
    """`kind`: saved_model, graph_def, keras or h5. Tensors: names, or None for the model's own.

    `signature` and `tags` say which of a SavedModel's is meant; None: the only one, or the usual one.
    """

    kind: str
    path: str
    input_tensors: list[str] | None
    output_tensors: list[str] | None
    memory_bytes: int
    signature: str | None = None
    tags: list[str] | None = None

    @classmethod
    def read(cls, folder: Path) -> Job:
        return cls(**json.loads((folder / JOB_FILE).read_text(encoding="utf-8")))

    def write(self, folder: Path) -> None:
        (folder / JOB_FILE).write_text(json.dumps(asdict(self)), encoding="utf-8")


@dataclass(frozen=True)
class Tensor:
    """A tensor by its TensorFlow name; shape -1: any length; alias: the signature's key, or empty."""

    name: str
    alias: str
    dtype: str
    shape: list[int]


@dataclass(frozen=True)
class Facts:
    """What was found.

    Attributes:
        image_tensor: where an encoded-image front ends; empty if the wire's input is the graph's
        image_size: height and width of that tensor
    """

    inputs: list[Tensor]
    outputs: list[Tensor]
    image_tensor: str
    image_size: list[int]
    tensorflow: str

    @classmethod
    def read(cls, folder: Path) -> Facts:
        plain = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        return cls(**plain | {key: [Tensor(**row) for row in plain[key]] for key in ("inputs", "outputs")})

    def write(self, folder: Path) -> None:
        (folder / FACTS_FILE).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")


class Refused(Exception):
    """The model can't be imported and its author can do something about it; `kind`: tensor, unsupported, unreadable."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
