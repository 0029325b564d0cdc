"""python -m accelform_runtime.worker.reading SOCKET: the process that reads what takes long, beside the model's.

It imports what it needs, and then only makes readers: a reader that is ended, or that ended at damaged input, has a
successor within milliseconds. Exit code 0: the model's process is gone.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import mmap
import os
import pickle
import socket
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from accelform_runtime.errors import UserError
from accelform_runtime.worker import headers, images, pictures, rest, shared
from accelform_runtime.worker.beside import ASKED, DONE, HELLO, TOLD
from accelform_runtime.worker.parent import obey_only_the_parent

NICENESS: Final = 5
"""Below the model: while both want the processors it has most of them."""

Told = dict[str, Any]
Room = Callable[[int], Any]


def image(data: bytes, _told: Told, room: Room) -> Told:
    """Pixels of an encoded image, uint8 [height, width, 3]."""
    return {"shape": images.decode(data, room).shape}


def rows_and_columns(data: bytes, told: Told, room: Room) -> Told:
    """The input of a JSON predict: an array, or strings one after the other."""
    found = rest.read_predict(data, told["spec"], told["served"])
    about: Told = {"key": found.key, "in_rows": found.in_rows}
    if found.values.dtype == object:
        strings = found.values.tolist()
        _fill(room, b"".join(strings))
        return {**about, "lengths": [len(string) for string in strings]}
    _fill(room, np.ascontiguousarray(found.values))
    return {**about, "dtype": found.values.dtype.str, "shape": found.values.shape}


def examples(data: bytes, told: Told, room: Room) -> Told:
    """The examples of a JSON classify or regress, as the message that gRPC has for them."""
    _fill(room, rest.read_input(data, told["spec"], told["served"]).SerializeToString())
    return {}


WORK: Final[dict[str, Callable[[bytes, Told, Room], Told]]] = {
    "image": image,
    "rest.predict": rows_and_columns,
    "rest.classify": examples,
    "rest.regress": examples,
}


def main(descriptor: int) -> int:
    """Makes one reader after the other until the model's process is gone."""
    obey_only_the_parent()
    faulthandler.enable()
    os.nice(NICENESS)
    connection = socket.socket(fileno=descriptor)
    gc.collect()
    gc.freeze()
    while True:
        reader = os.fork()
        if reader == 0:
            obey_only_the_parent()
            _read_all(connection)
            os._exit(0)
        _, status = os.waitpid(reader, 0)
        if os.waitstatus_to_exitcode(status) == 0:
            return 0


def _read_all(connection: socket.socket) -> None:
    _pass_over(connection)
    connection.sendall(TOLD.pack(HELLO, os.getpid(), 0, 0))
    while True:
        message, files, _, _ = socket.recv_fds(connection, ASKED.size, 1)
        if len(message) < ASKED.size:
            return
        number, meta_bytes = ASKED.unpack(message)
        file = shared.new_file()
        size, told = _done(files[0], meta_bytes, file)
        meta = json.dumps(told).encode()
        os.pwrite(file, meta, size)
        socket.send_fds(connection, [TOLD.pack(DONE, number, size, len(meta))], [file])
        os.close(file)


def _pass_over(connection: socket.socket) -> None:
    """What the reader before was asked and has not begun: nobody waits for it, or it would have been let go on."""
    connection.setblocking(False)
    while True:
        try:
            message, files, _, _ = socket.recv_fds(connection, ASKED.size, 1)
        except BlockingIOError:
            connection.setblocking(True)
            return
        for file in files:
            os.close(file)
        if not message:
            os._exit(0)


def _done(asked: int, meta_bytes: int, file: int) -> tuple[int, Told]:
    """Bytes that were written to `file`, and what is to be told of them."""
    size = 0

    def room(wanted: int) -> mmap.mmap:
        nonlocal size
        size = wanted
        return shared.room(file, wanted)

    try:
        with mmap.mmap(asked, 0, access=mmap.ACCESS_READ) as content:
            work, told = pickle.loads(content[:meta_bytes])
            data = content[meta_bytes:]
        os.close(asked)
        found = WORK[work](data, told, room)
        return size, found
    except UserError as error:
        return 0, {"refused": type(error).__name__, "message": str(error)}
    except Exception as error:
        return 0, {"refused": "InternalError", "message": f"{type(error).__name__}: {error}"}


def _fill(room: Room, values: bytes | NDArray[Any]) -> None:
    view = values if isinstance(values, bytes) else values.reshape(-1).view(np.uint8).data
    if len(view):
        room(len(view))[:] = view


IMPORTED_FOR_ALL_READERS: Final = (headers, pictures)

if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
