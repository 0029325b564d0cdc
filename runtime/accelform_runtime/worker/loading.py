"""The first frame: load a model, warm it up, and tell the front what is resident, or why nothing is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from accelform_runtime.device.bundle import Bundle
from accelform_runtime.device.fpga import Fpga
from accelform_runtime.errors import InternalError, UserError
from accelform_runtime.protocol import NO_BITSTREAM
from accelform_runtime.worker.calls import Calls
from accelform_runtime.worker.frames import MAX_META_BYTES, Connection, Frame, Kind, Outgoing
from accelform_runtime.worker.logs import Log
from accelform_runtime.worker.served import Served
from accelform_runtime.worker.signature import signature_map


def load(frame: Frame, connection: Connection, log: Log) -> tuple[Calls | None, int]:
    """Answers `frame` with READY or FAILED; the calls to the model, or None and the exit code to leave with.

    Raises OSError when the front has left.
    """
    try:
        if frame.kind is not Kind.LOAD:
            raise InternalError(f"the first frame is {frame.kind.name}, not LOAD")
        meta = frame.meta
        fpga = Fpga(
            Path(meta["model_dir"]),
            threads=meta.get("threads", 0),
            engine=meta.get("engine", "auto"),
            bundle_sha256=meta.get("bundle_sha256", ""),
        )
        fpga.warm_up()
        served = Served(
            bundle=fpga.bundle,
            service=meta["service"],
            strict_model_spec=meta.get("strict_model_spec", False),
            tensor_content_replies=meta.get("tensor_content_replies", False),
            version_labels=meta.get("version_labels") or {},
        )
        calls = Calls(fpga, served, log, connection)
        signature = signature_map(fpga.bundle).SerializeToString()
    except Exception as error:
        code = 2 if isinstance(error, UserError) else 1
        if code == 1:
            log.traceback("failure", error)
        told = {"kind": type(error).__name__, "message": str(error), "exit_code": code}
        connection.send(Outgoing(Kind.FAILED, frame.id, told))
        return None, code
    connection.send(Outgoing(Kind.READY, frame.id, _about(fpga), signature))
    return calls, 0


def _labels(bundle: Bundle) -> list[str]:
    """The model's labels; none where a frame has no room for them."""
    fits = sum(len(label.encode()) + 8 for label in bundle.labels) < MAX_META_BYTES // 8
    return list(bundle.labels) if fits else []


def _about(fpga: Fpga) -> dict[str, Any]:
    bundle = fpga.bundle
    return {
        "name": bundle.name,
        "version": bundle.version,
        "engine": fpga.engine,
        "engine_reason": fpga.engine_reason,
        "threads": fpga.threads,
        "load_ms": round(fpga.load_seconds * 1000, 1),
        "number_format": bundle.number_format,
        "bitstream": bundle.family or NO_BITSTREAM,
        "latency_ms": bundle.latency_ms,
        "occupancy_ms": bundle.occupancy_ms,
        "takes_images": bundle.takes_images,
        "pid": os.getpid(),
        "labels": _labels(bundle),
    }
