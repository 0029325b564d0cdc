"""Log lines: one JSON object each, on standard error."""

from __future__ import annotations

import datetime
import json
import logging
import os
import select
import sys
import threading
import traceback
from typing import Any, Final, TextIO

PATIENCE_SECONDS: Final = 1.0
"""How long a line waits for whoever reads the log. One who does not read is no reason to stop serving."""


class Log:
    """Writes events with their fields; values go through JSON, so that no field can forge a line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.lines_lost = 0
        """Lines that could not be written."""
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()
        self._patience_seconds = PATIENCE_SECONDS

    def write(self, event: str, **fields: Any) -> None:
        """One line with the time (UTC), `event` and `fields`."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **fields}, ensure_ascii=True, default=str)
        with self._lock:
            if _written(self._stream, line + "\n", self._patience_seconds):
                self._patience_seconds = PATIENCE_SECONDS
            else:
                self._patience_seconds = 0.0
                self.lines_lost += 1

    def traceback(self, event: str, error: BaseException, **fields: Any) -> None:
        """One line about an error that should not have been, with where it came from."""
        detail = "".join(traceback.format_exception(error))
        self.write(event, kind=type(error).__name__, message=str(error), traceback=detail, **fields)

    def take_over_logging(self) -> None:
        """Turns what libraries log or warn about into lines of this log."""
        logging.captureWarnings(True)
        logging.basicConfig(level=logging.WARNING, handlers=[_Forward(self)], force=True)


def _written(stream: TextIO, text: str, patience_seconds: float) -> bool:
    """Whether `text` was written whole: not onto a full disk, and not to a reader that takes nothing for so long."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # it is no file
        stream.write(text)
        return True
    data = text.encode()
    room = select.poll()
    room.register(number, select.POLLOUT)
    try:
        while data:
            if not room.poll(patience_seconds * 1000):
                return False
            data = data[os.write(number, data[: select.PIPE_BUF]) :]  # as much as a pipe with room takes at once
    except OSError:
        return False
    return True


class _Forward(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        detail = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        fields = {"traceback": detail} if detail else {}
        self._log.write("library", logger=record.name, level=record.levelname, message=record.getMessage(), **fields)
