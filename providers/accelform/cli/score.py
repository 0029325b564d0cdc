"""accelform score IMAGE: send one image to a web service and show what it is.

Where the service is and its key come from a Pulumi stack's outputs, or from --address and --key-file. The key is
never taken from the command line and never printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.stack_outputs import read_outputs
from accelform.errors import ScoreInputUnreadable

if TYPE_CHECKING:
    from accelform_runtime.client import ScoreResult

DEFAULT_STACK: Final = "edge"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A service to call."""

    address: str
    key: str = dataclasses.field(default="", repr=False)
    service_name: str = ""
    labels: tuple[str, ...] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("image", type=Path, help="JPEG, PNG, GIF or BMP file")
    parser.add_argument("--stack", help=f"Pulumi stack whose service is asked (default: {DEFAULT_STACK})")
    parser.add_argument("--address", help="scoring URI or HOST:PORT of a service, instead of a stack")
    parser.add_argument("--key-file", type=Path, help="file that holds the service's key, with --address")
    parser.add_argument("--labels", type=Path, help="file with one class name per line, with --address")
    parser.add_argument("--top", type=_positive, default=5, metavar="N", help="classes to show (default: 5)")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="SECONDS", help="longest wait (default: 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Scores and prints. Returns 0, or 2 when the user can fix it, or 1 when the service or accelform failed."""
    from accelform_runtime.client import PredictionClient
    from accelform_runtime.errors import AccelRuntimeError, InternalError

    if args.stack and args.address:
        print("accelform score: --stack and --address exclude each other", file=sys.stderr)
        return 2
    if (args.key_file or args.labels) and not args.address:
        print("accelform score: --key-file and --labels belong to --address; a stack brings its own", file=sys.stderr)
        return 2
    data = _read(args.image, "image")
    endpoint = _from_arguments(args) if args.address else _from_stack(args.stack or DEFAULT_STACK)
    try:
        with PredictionClient(
            endpoint.address, access_token=endpoint.key, service_name=endpoint.service_name
        ) as client:
            result = client.score_image(data, timeout_seconds=args.timeout)
            rows = [
                (index, endpoint.labels[index] if index < len(endpoint.labels) else str(index), probability)
                for index, probability in result.top(args.top)
            ]
    except AccelRuntimeError as error:
        print(f"accelform score: {args.image}: {error}", file=sys.stderr)
        return 1 if isinstance(error, InternalError) else 2
    print(_as_json(args.image, result, rows) if args.json else _as_table(result, rows))
    return 0


def _from_stack(stack: str) -> Endpoint:
    outputs = read_outputs(stack)
    return Endpoint(
        address=str(outputs["scoring_uri"]),
        key=str(outputs.get("primary_key") or ""),
        service_name=str(outputs.get("service_name") or ""),
        labels=tuple(str(label) for label in outputs.get("labels") or ()),
    )


def _from_arguments(args: argparse.Namespace) -> Endpoint:
    key = _text(args.key_file, "key file").strip() if args.key_file else ""
    labels = tuple(_text(args.labels, "labels").splitlines()) if args.labels else ()
    return Endpoint(address=args.address, key=key, labels=labels)


def _as_table(result: ScoreResult, rows: list[tuple[int, str, float]]) -> str:
    width = max(len("class"), *(len(label) for _, label, _ in rows))
    lines = [f"{'class':<{width}}  probability"]
    lines += [f"{label:<{width}}  {probability:>10.2%}" for _, label, probability in rows]
    lines += ["", f"model         {result.model_name}, version {result.model_version}"]
    server = f", {result.server_ms:.1f} ms of it in the service" if result.server_ms is not None else ""
    lines.append(f"round trip    {result.round_trip_ms:.1f} ms measured{server}")
    if result.modelled:
        lines.append(
            f"FPGA latency  {result.modelled.latency_ms:.2f} ms modelled, "
            f"occupied for {result.modelled.occupancy_ms:.2f} ms after {result.modelled.queue_ms:.2f} ms in its queue"
        )
    return "\n".join(lines)


def _as_json(image: Path, result: ScoreResult, rows: list[tuple[int, str, float]]) -> str:
    content: dict[str, Any] = {
        "image": str(image),
        "predictions": [
            {"class": index, "label": label, "probability": probability} for index, label, probability in rows
        ],
        "model": {"name": result.model_name, "version": result.model_version},
        "request_id": result.request_id,
        "round_trip_ms": result.round_trip_ms,
        "server_ms": result.server_ms,
        "fpga": dataclasses.asdict(result.modelled) if result.modelled else None,
    }
    return json.dumps(content, indent=2)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScoreInputUnreadable(f"cannot read {what} {path}: {error.strerror}; name an existing file") from error


def _text(path: Path, what: str) -> str:
    try:
        return _read(path, what).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ScoreInputUnreadable(f"{what} {path} is not text; name a UTF-8 file") from error


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value
