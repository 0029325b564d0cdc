"""One public tool's process: loads the network, then runs it once for every line on standard input.

    python -m benchmarks.peer_tools.runner TOOL FOLDER THREADS

FOLDER holds a bundle, `pixels.npy`, an image, and `image.npy`, the same preprocessed. The first line of the answer is
JSON with the output: the network's, or the whole model's where a tool runs the whole served graph.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from accelform_runtime.network.network import Network
from accelform_runtime.network.packed import read_packed
from accelform_runtime.numerics.format import NumberFormat, load_profile
from benchmarks.peer_tools import quantisers as tools
from benchmarks.peer_tools.torch_network import TorchNetwork

Make = Callable[[int], tools.Rows]
Run = Callable[[], np.ndarray]


def rows_of(tool: str, fmt: NumberFormat) -> tools.Rows | None:
    """The tool's quantiser for rows of any whole number of blocks, or of one shorter block."""
    bits, size = fmt.mantissa_bits or 0, fmt.block_size or 0
    makers: dict[str, Make] = {
        "qtorch": lambda block: tools.qtorch_rows(bits, block),
        "brevitas": lambda block: tools.brevitas_rows(bits, block),
        "amd-quark": lambda block: tools.quark_bfp_rows(bits, block),
    }
    if tool == "torch":
        return None
    made: dict[int, tools.Rows] = {}

    def run(rows: torch.Tensor) -> torch.Tensor:
        block = min(size, rows.shape[1])
        if block not in made:
            made[block] = makers[tool](block)
        return made[block](rows)

    return run


def network_of(tool: str, folder: Path) -> Run:
    """The network in torch with the tool's quantiser."""
    description = json.loads((folder / "fpga.json").read_text(encoding="utf-8"))
    fmt = load_profile(description["number_format"])
    network = Network.from_dict(description["network"])
    parameters = read_packed(folder / "fpga.npz", network, fmt).parameters()
    image = torch.from_numpy(np.load(folder / "image.npy", allow_pickle=False))
    model = TorchNetwork(network, parameters, rows_of(tool, fmt))
    return lambda: model.run(image).numpy()


def graph_of(folder: Path, threads: int) -> Run:
    """The whole served graph in onnxruntime with amd-quark's operator."""
    from benchmarks.peer_tools.onnx_network import QuarkGraph

    return QuarkGraph(folder, threads).run


def main(tool: str, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    name, _, place = tool.partition("/")
    run = graph_of(folder, threads) if place == "onnxruntime" else network_of(name, folder)
    values = run().reshape(-1).tolist()
    print(json.dumps({"version": tools.tool_version(name), "values": values}), flush=True)
    for _ in sys.stdin:
        run()
        print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
