"""mosec: HTTP, a front in Rust, one worker process; bytes in, bytes out."""

from __future__ import annotations

import sys

from benchmarks.serving_peers.pipeline import Pipeline, port
from mosec import Server, Worker


class Classifier(Worker):
    """Answers in its own process; the bytes are not wrapped in JSON."""

    def __init__(self) -> None:
        self.pipeline = Pipeline.from_environment()

    def deserialize(self, data: bytes) -> bytes:
        """The body is the value."""
        return data

    def serialize(self, data: bytes) -> bytes:
        """The reply is the output's bytes."""
        return data

    def forward(self, data: bytes) -> bytes:
        """The output for one value."""
        return self.pipeline.answer(data).tobytes()


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(port()), "--timeout", "60000", "--log-level", "error"]
    server = Server()
    server.append_worker(Classifier, num=1)
    server.run()
