"""accelform token: sign a token for a stack's service, for clients that should have access for a while."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, Final

from accelform.cli.stack_outputs import DEFAULT_STACK, read_outputs
from accelform.errors import NoToken

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument(
        "--stack", default=DEFAULT_STACK, help=f"Pulumi stack whose service it is for (default: {DEFAULT_STACK})"
    )
    parser.add_argument(
        "--lifetime",
        type=_seconds,
        default="1h",
        metavar="TIME",
        help="how long it is valid, such as 90s, 15m or 1h, at most 24h (default: 1h)",
    )


def run(args: argparse.Namespace) -> int:
    """Prints the token, and nothing else, so that a script can take it. Returns 0."""
    print(mint(read_outputs(args.stack), stack=args.stack, lifetime_seconds=args.lifetime))
    return 0


def mint(outputs: Mapping[str, Any], *, stack: str, lifetime_seconds: int) -> str:
    """A token for the service that `outputs` are of. Raises NoToken where that takes none, or its key cannot sign."""
    from accelform_runtime import tokens
    from accelform_runtime.errors import UserError

    signing_key = str(outputs.get("token_signing_key") or "")
    if not signing_key:
        raise NoToken(
            f"the service of stack {stack!r} takes no tokens; "
            "`pulumi config set accelform:token_auth_enabled true` and `pulumi up` change that"
        )
    try:
        return tokens.mint(signing_key, str(outputs.get("service_name") or ""), lifetime_seconds)
    except UserError as error:
        raise NoToken(f"cannot sign a token for the service of stack {stack!r}: {error}") from error


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})([smh])", text)
    seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
    if not 0 < seconds <= 24 * 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time up to a day; write it like 90s, 15m or 1h")
    return seconds
