"""Log lines: one JSON object each, on standard error."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import sys
import threading
import traceback
from typing import Any, TextIO


class Log:
    """Writes events with their fields; values go through JSON, so that no field can forge a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()

    def write(self, event: str, **fields: Any) -> None:
        """One line with the time (UTC), `event` and `fields`."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **fields}, ensure_ascii=True, default=str)
        # A log that cannot be written, say for a full disk, is no reason to stop serving.
        with self._lock, contextlib.suppress(OSError):
            self._stream.write(line + "\n")
            self._stream.flush()

    def traceback(self, event: str, error: BaseException, **fields: Any) -> None:
        """One line about an error that should not have been, with where it came from."""
        detail = "".join(traceback.format_exception(error))
        self.write(event, kind=type(error).__name__, message=str(error), traceback=detail, **fields)

    def take_over_logging(self) -> None:
        """Turns what libraries log or warn about into lines of this log."""
        logging.captureWarnings(True)
        logging.basicConfig(level=logging.WARNING, handlers=[_Forward(self)], force=True)


class _Forward(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        detail = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        fields = {"traceback": detail} if detail else {}
        self._log.write("library", logger=record.name, level=record.levelname, message=record.getMessage(), **fields)
