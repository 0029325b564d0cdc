"""MLServer: the Open Inference Protocol over gRPC.

The model is in the server's own process (parallel_workers 0); with `defaults` in a worker process, as it comes.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.serving_peers.pipeline import Pipeline, port
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

IMPLEMENTATION = "benchmarks.serving_peers.mlserver.service.Classifier"
"""By name: a worker process has to find it."""


class Classifier(MLModel):
    """An encoded image as BYTES, or the tensor as FP32."""

    async def load(self) -> bool:
        """Opens the model."""
        self.pipeline = Pipeline.from_environment()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The output for one value."""
        sent = payload.inputs[0]
        if self.pipeline.takes_images:
            output = self.pipeline.answer(sent.data[0])
        else:
            output = self.pipeline.run(NumpyCodec.decode_input(sent))
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", output)])


async def main() -> None:
    """Serves one model on one port; HTTP and metrics get the next ones."""
    quiet = {"version": 1, "disable_existing_loggers": True}
    settings = Settings(
        debug=False,
        parallel_workers=1 if sys.argv[1:] == ["defaults"] else 0,
        host="127.0.0.1",
        grpc_port=port(),
        http_port=port() + 1,
        metrics_endpoint=None,
        grpc_max_message_length=16 * 1024 * 1024,
        load_models_at_startup=False,
        logging_settings=quiet,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="model", implementation=IMPLEMENTATION)])


if __name__ == "__main__":
    asyncio.run(main())
