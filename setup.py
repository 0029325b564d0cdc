"""What pyproject.toml can't say: the native engine is compiled where there is a C compiler, the server's front with Go.

Where there is no compiler the installation goes on without its part: without the engine models run in onnxruntime,
without the front no server starts here, and everything else works. A compiler that fails ends the installation.
"""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError

sys.path.insert(0, str(Path("runtime").resolve()))
from accelform_runtime import compiling

PACKAGE = Path("runtime/accelform_runtime")


class BuildCompiled(build_py):
    """Adds what is compiled to the package: in the source tree of an editable installation, else in the wheel."""

    def run(self) -> None:
        super().run()
        package = PACKAGE if self.editable_mode else Path(self.build_lib, "accelform_runtime")
        native, front = map(compiling.build_module, compiling.PARTS)
        for module, target, sources in (
            (native, package / "native" / native.LIBRARY.name, PACKAGE / "native" / "src"),
            (front, package / "front" / front.PROGRAM.name, Path("runtime/front")),
        ):
            try:
                module.build(target.resolve(), sources=sources.resolve())
            except compiling.CompilerMissing as error:
                print(f"warning: {target.name} is left out: {error}")
            except compiling.BuildFailed as error:
                raise CompileError(f"{target.name}: {error}") from error


class WithLibrary(Distribution):
    """A distribution for this platform only."""

    def has_ext_modules(self) -> bool:
        return True


setup(cmdclass={"build_py": BuildCompiled}, distclass=WithLibrary)
