"""LitServe: HTTP, FastAPI in front of one worker process; a form's file in, bytes out."""

# No `from __future__ import annotations`: LitServe looks at the annotation of a request itself.
import litserve
from benchmarks.serving_peers.pipeline import Pipeline, port
from fastapi import Request, Response


class Classifier(litserve.LitAPI):
    """Answers in its own process."""

    def setup(self, device: str) -> None:
        """Opens the model in the worker."""
        self.pipeline = Pipeline.from_environment()

    def decode_request(self, request: Request) -> bytes:
        """LitServe passes forms and JSON only: the value is a form's file."""
        data: bytes = request["value"].file.read()
        return data

    def predict(self, data: bytes) -> bytes:
        """The output for one value."""
        return self.pipeline.answer(data).tobytes()

    def encode_response(self, output: bytes) -> Response:
        """The reply is the output's bytes."""
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=1, timeout=60, track_requests=False)
    server.run(host="127.0.0.1", port=port(), num_api_servers=1, log_level="error", generate_client_file=False)
