"""accelform score IMAGE: send one image, or a tensor in a .npy file, to a web service and show what it is.

Where the service is, its certificate, and its key or a fresh token come from a Pulumi stack's outputs, or from
--address, --ca-file and --key-file. The key is never taken from the command line and never printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.answer import as_json, as_table
from accelform.cli.arguments import number, whole
from accelform.cli.objects import Thresholds
from accelform.cli.stack_outputs import DEFAULT_STACK, read_outputs
from accelform.cli.token import mint
from accelform.errors import ScoreInputUnreadable
from accelform.texts import NotText, decoded, lines_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEFAULT_INPUT: Final = "images"
TENSOR_SUFFIX: Final = ".npy"
LONGEST: Final = 10.0
LONGEST_EXACT: Final = 120.0
TOKEN_SECONDS: Final = 300
"""Seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A service to call; `key` is a key or a token, `certificates` are those that its own may be signed by, as PEM."""

    address: str
    key: str = dataclasses.field(default="", repr=False)
    service_name: str = ""
    certificates: bytes = b""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    share = number(least=0, most=1)
    parser.add_argument("image", type=Path, help="JPEG, PNG, GIF or BMP file, or the input tensor as a .npy file")
    parser.add_argument("--stack", help=f"Pulumi stack whose service is asked (default: {DEFAULT_STACK})")
    parser.add_argument("--address", help="scoring URI or HOST:PORT of a service, instead of a stack")
    parser.add_argument("--key-file", type=Path, help="file that holds the service's key or a token, with --address")
    parser.add_argument(
        "--ca-file", type=Path, help="file of certificates to trust the service's by, with --address (default: gRPC's)"
    )
    parser.add_argument(
        "--client-cert-file",
        type=Path,
        help="PEM file with your certificate and its key, where the service asks for it",
    )
    parser.add_argument(
        "--labels", type=Path, help="file with one class name per line (default: what the service calls its classes)"
    )
    parser.add_argument("--top", type=whole(), default=5, metavar="N", help="classes or objects to show (default: 5)")
    parser.add_argument(
        "--threshold",
        type=share,
        default=0.5,
        metavar="P",
        help="a detector's least probability (default: 0.5)",
    )
    parser.add_argument(
        "--nms",
        type=share,
        default=0.45,
        metavar="IOU",
        help="overlap from which two objects are one (default: 0.45)",
    )
    parser.add_argument("--input", default=DEFAULT_INPUT, metavar="NAME", help=f"input (default: {DEFAULT_INPUT})")
    parser.add_argument("--output", action="append", metavar="NAME", help="output to ask for (default: all)")
    parser.add_argument(
        "--exactness",
        action="store_true",
        help="ask for an answer that is known to equal the number format's definition; it may take a minute",
    )
    parser.add_argument(
        "--timeout", type=number(above=0), metavar="SECONDS", help="longest wait (default: 10, with --exactness 120)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Scores and prints. Returns 0, or 2 when the user can fix it, or 1 when the service or accelform failed."""
    from accelform_runtime.client import PredictionClient
    from accelform_runtime.errors import AccelRuntimeError, InternalError

    if args.stack and args.address:
        print("accelform score: --stack and --address exclude each other", file=sys.stderr)
        return 2
    if (args.key_file or args.ca_file) and not args.address:
        print(
            "accelform score: --key-file and --ca-file belong to --address; a stack brings its own",
            file=sys.stderr,
        )
        return 2
    value = _tensor(args.image) if args.image.suffix == TENSOR_SUFFIX else _image(args.image)
    endpoint = _from_arguments(args) if args.address else _from_stack(args.stack or DEFAULT_STACK)
    shown = _read(args.client_cert_file, "client certificate") if args.client_cert_file else None
    timeout = args.timeout if args.timeout is not None else LONGEST_EXACT if args.exactness else LONGEST
    try:
        with PredictionClient(
            endpoint.address,
            access_token=endpoint.key,
            service_name=endpoint.service_name,
            root_certificates=endpoint.certificates or None,
            client_key=shown,
            client_certificates=shown,
        ) as client:
            result = client.score_numpy_arrays({args.input: value}, args.output, timeout, certified=args.exactness)
            labels = _labels(args.labels) if args.labels else client.labels(timeout)
        thresholds = Thresholds(select=args.threshold, nms=args.nms)
        if args.json:
            print(as_json(args.image, result, labels=labels, top=args.top, thresholds=thresholds))
        else:
            print(as_table(result, labels=labels, top=args.top, thresholds=thresholds))
    except AccelRuntimeError as error:
        print(f"accelform score: {args.image}: {error}", file=sys.stderr)
        return 1 if isinstance(error, InternalError) else 2
    return 0


def _from_stack(stack: str) -> Endpoint:
    outputs = read_outputs(stack)
    key = str(outputs.get("primary_key") or "")
    if not key and outputs.get("token_signing_key"):
        key = mint(outputs, stack=stack, lifetime_seconds=TOKEN_SECONDS)
    return Endpoint(
        address=str(outputs["scoring_uri"]),
        key=key,
        certificates=str(outputs.get("ssl_certificate") or "").encode(),
        service_name=str(outputs.get("service_name") or ""),
    )


def _from_arguments(args: argparse.Namespace) -> Endpoint:
    key = _text(args.key_file, "key file").strip() if args.key_file else ""
    certificates = _text(args.ca_file, "CA file").encode() if args.ca_file else b""
    return Endpoint(address=args.address, key=key, certificates=certificates)


def _image(path: Path) -> NDArray[Any]:
    import numpy as np

    return np.array([_read(path, "image")], dtype=np.object_)


def _tensor(path: Path) -> NDArray[Any]:
    import numpy as np

    data = _read(path, "tensor")
    try:
        # Without pickles: a file of objects could run code.
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ScoreInputUnreadable(
            f"tensor {path} is not a .npy file of numbers: {error}; write it with numpy.save"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ScoreInputUnreadable(f"tensor {path} holds no array of numbers; write one with numpy.save")
    return array


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ScoreInputUnreadable(f"cannot read {what} {path}: {error.strerror}; name an existing file") from error


def _text(path: Path, what: str) -> str:
    try:
        return decoded(_read(path, what))
    except NotText as error:
        raise ScoreInputUnreadable(f"{what} {path} is not text: {error}") from error


def _labels(path: Path) -> tuple[str, ...]:
    try:
        return lines_of(_read(path, "labels"))
    except NotText as error:
        raise ScoreInputUnreadable(f"labels {path}: {error}") from error
