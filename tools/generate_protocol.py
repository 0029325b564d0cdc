"""Writes the modules of runtime/accelform_runtime/protocol/*.proto: Python's beside them, Go's into runtime/front.

python tools/generate_protocol.py            # into the source tree
python tools/generate_protocol.py --into DIR # elsewhere, for the test that finds stale modules
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

RUNTIME = Path(__file__).resolve().parent.parent / "runtime"
FRONT = RUNTIME / "front"
GO_MODULE = "accelform/front"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def generate(into: Path) -> int:
    """Runs protoc over every .proto file; returns its exit code. Needs Go for its part."""
    sources = [
        path.relative_to(RUNTIME).as_posix()
        for path in sorted((RUNTIME / "accelform_runtime" / "protocol").glob("*.proto"))
    ]
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "protoc-gen-go"
        generator = "google.golang.org/protobuf/cmd/protoc-gen-go"
        subprocess.run(["go", "build", "-o", str(plugin), generator], cwd=FRONT, check=True)
        return int(
            protoc.main(
                [
                    "protoc",
                    f"--proto_path={RUNTIME}",
                    f"--proto_path={WELL_KNOWN}",
                    f"--python_out={into}",
                    f"--pyi_out={into}",
                    f"--plugin=protoc-gen-go={plugin}",
                    f"--go_out={into / 'front'}",
                    f"--go_opt=module={GO_MODULE}",
                    *(f"--go_opt=M{source}={GO_MODULE}/wire" for source in sources),
                    *sources,
                ]
            )
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="generate the protocol modules")
    parser.add_argument("--into", type=Path, default=RUNTIME, help="folder that stands for runtime/")
    sys.exit(generate(parser.parse_args().into))
