"""The two compiled parts, built before the package is installed: the server's front with Go, the engine in C.

A part that was made from the present sources is used as it is, whether or not there still is a compiler.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

from tools.progress import StepFailed, say
from tools.sources import compiling
from tools.toolchain import gobuild

WITHOUT_C = "there is no C compiler (cc, gcc, clang): the emulator runs in onnxruntime, almost three times slower"


def front_is_current(project: Path) -> bool:
    """Tell whether the server's front needs no building."""
    shared = compiling(project)
    front = shared.build_module("front")
    return bool(shared.is_current(front.PROGRAM, front.sources_digest()))


def native_is_current(project: Path) -> bool:
    """Tell whether the engine needs no building."""
    shared = compiling(project)
    native = shared.build_module("native")
    return bool(shared.is_current(native.LIBRARY, native.sources_digest()))


def has_c_compiler(project: Path) -> bool:
    """Tell whether the engine can be built."""
    return bool(compiling(project).build_module("native").compilers())


def check_go(project: Path) -> None:
    """Raise StepFailed where there is no Go that can build the front, or too old a one."""
    front = compiling(project).build_module("front")
    gobuild.check_go(front.SOURCES, what="the server's front", otherwise="run make on a machine that has it")


def ensure_parts(project: Path, lock: int) -> None:
    """Build what is not current; raises StepFailed with what the compiler said, or which one is missing.

    `lock` is a file descriptor that go inherits.
    """
    shared = compiling(project)
    native, front = map(shared.build_module, shared.PARTS)
    try:
        if not shared.is_current(native.LIBRARY, native.sources_digest()):
            _build_native(shared, native)
        if not shared.is_current(front.PROGRAM, front.sources_digest()):
            check_go(project)
            front.build(run=functools.partial(_counted, lock))
    except shared.BuildFailed as error:
        raise StepFailed(str(error)) from error


def _build_native(shared: ModuleType, native: ModuleType) -> None:
    try:
        native.build()
    except shared.CompilerMissing:
        say(f"  {WITHOUT_C}")


def _counted(lock: int, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    gobuild.build_counted(
        "the server's front",
        folder,
        (".",),
        command=[*command[:2], "-v", *command[2:]],
        environment=environment,
        lock=lock,
    )
