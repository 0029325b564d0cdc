"""`--check`: everything that a start would trip over, without serving: a line for each part, problems included."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from accelform_runtime.errors import UserError
from accelform_runtime.server.config import ServiceConfig
from accelform_runtime.server.files import front_problem, key_problem, tls_problem, token_problem

Step = Callable[[], str]
"""What is right, in a few words; raises a UserError where something is not."""


def check(config_path: Path, model_folder: Path) -> int:
    """Prints a line for each part; the exit code is 0, 2 when somebody has to change something, 1 when we failed.

    Loads the model and runs it as a start would; binds no port and leaves the FPGA to its resident. What a wrong
    configuration says cannot be checked; front and model still are.
    """
    found: list[ServiceConfig] = []

    def read() -> str:
        found.append(ServiceConfig.read(config_path))
        return f"service {found[0].name!r}"

    # What somebody has to change (2) comes before what we failed in (1), which may follow from it.
    code = max(_told("configuration", read), _told("front", lambda: _without(front_problem(), "built")))
    config = found[0] if found else None
    if config is not None:
        for part, step in _files(config).items():
            code = max(code, _told(part, step))
    return max(code, _told("model", lambda: _load(config, model_folder)))


def _told(part: str, step: Step) -> int:
    """Prints the part's line and returns the exit code it asks for."""
    try:
        mark, words, code = "ok", step(), 0
    except UserError as error:
        mark, words, code = "wrong", str(error), 2
    except Exception as error:
        mark, words, code = "failed", f"{type(error).__name__}: {error}", 1
    print(f"{mark:<7} {part:<15} {' '.join(words.splitlines())}", flush=True)
    return code


def _files(config: ServiceConfig) -> dict[str, Step]:
    return {
        "authentication": lambda: _without(key_problem(config) or token_problem(config), _who(config)),
        "TLS": lambda: _without(tls_problem(config), "certificate and key fit" if config.ssl_cert_pem_file else "off"),
    }


def _without(problem: UserError | None, words: str) -> str:
    if problem is not None:
        raise problem
    return words


def _who(config: ServiceConfig) -> str:
    if config.auth_enabled:
        return "keys"
    return "tokens" if config.token_auth_enabled else "none: every caller is let in"


def _load(config: ServiceConfig | None, folder: Path) -> str:
    from accelform_runtime.device.bundle import DIGEST_VARIABLE
    from accelform_runtime.device.engines import AUTO
    from accelform_runtime.device.fpga import Fpga

    started = time.monotonic()
    fpga = Fpga(
        folder,
        threads=config.threads if config else 0,
        engine=config.engine if config else AUTO,
        bundle_sha256=os.environ.get(DIGEST_VARIABLE, ""),
    )
    fpga.warm_up()
    bundle = fpga.bundle
    return (
        f"{bundle.name!r} version {bundle.version}: {fpga.engine} ({fpga.engine_reason}), {bundle.number_format}, "
        f"{fpga.threads} threads, loaded and warm after {time.monotonic() - started:.1f} s"
    )
