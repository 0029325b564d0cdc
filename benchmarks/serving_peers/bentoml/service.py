"""BentoML: HTTP, one worker process; the body is the value, bytes out."""

from __future__ import annotations

import sys

import bentoml
from benchmarks.serving_peers.pipeline import Pipeline, port


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Classifier:
    """Answers in the worker."""

    def __init__(self) -> None:
        self.pipeline = Pipeline.from_environment()

    @bentoml.api(route="/score")
    def score(self, data: bytes, /) -> bytes:
        """The output for one value."""
        return self.pipeline.answer(data).tobytes()


if __name__ == "__main__":
    from bentoml_cli.cli import cli

    sys.argv[0] = "bentoml"
    place = ["--host", "127.0.0.1", "--port", str(port())]
    cli(["serve", "benchmarks.serving_peers.bentoml.service:Classifier", *place], standalone_mode=False)
