"""Which worker runs which tests: whole files, and no more of the cluster's at a time than its nodes are enough for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.seconds import file_of
from xdist.scheduler import LoadScopeScheduling


class FilesWithRoom(LoadScopeScheduling):
    """Hands out files in the order in which they were collected, but none that would only wait for others to end.

    `need` says how much of something that the workers share a file takes of the `room` there is.
    """

    def __init__(self, config: Any, log: Any, *, need: Callable[[str], int], room: int) -> None:
        super().__init__(config, log)
        self._need = need
        self._room = room

    def _split_scope(self, nodeid: str) -> str:
        return file_of(nodeid)

    def _reschedule(self, node: Any) -> None:
        # A worker cannot begin its last test without knowing what comes next: it then waits its turn with the first.
        if self._fitting(node) or self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        if file := self._fitting(node):
            self.workqueue.move_to_end(file, last=False)
        super()._assign_work_unit(node)

    def _fitting(self, node: Any) -> str | None:
        """The first file for which the other workers leave room; this one is done with its own when it begins it."""
        others = [files for other, files in self.assigned_work.items() if other is not node]
        taken = sum(self._need(file) for files in others for file, tests in files.items() if not all(tests.values()))
        return next((file for file in self.workqueue if self._need(file) <= max(self._room - taken, 0)), None)
