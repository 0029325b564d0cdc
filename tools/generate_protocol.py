"""Writes the Python modules of runtime/accelform_runtime/protocol/*.proto next to them.

python tools/generate_protocol.py            # into the source tree
python tools/generate_protocol.py --into DIR # elsewhere, for the test that finds stale modules
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def generate(into: Path) -> int:
    """Runs protoc over every .proto file; returns its exit code."""
    sources = sorted((RUNTIME / "accelform_runtime" / "protocol").glob("*.proto"))
    return int(
        protoc.main(
            [
                "protoc",
                f"--proto_path={RUNTIME}",
                f"--proto_path={WELL_KNOWN}",
                f"--python_out={into}",
                f"--pyi_out={into}",
                *(str(source.relative_to(RUNTIME)) for source in sources),
            ]
        )
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="generate the protocol modules")
    parser.add_argument("--into", type=Path, default=RUNTIME, help="folder that stands for runtime/")
    sys.exit(generate(parser.parse_args().into))
