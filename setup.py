"""What pyproject.toml can't say: the native engine is compiled where there is a C compiler, the server's front with Go.

Without them, and where one fails, the installation goes on: without the engine models run in onnxruntime, without the
front no server starts here, and everything else works.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

PACKAGE = Path("runtime/accelform_runtime")


class BuildCompiled(build_py):
    """Adds what is compiled to the package: in the source tree of an editable installation, else in the wheel."""

    def run(self) -> None:
        super().run()
        package = PACKAGE if self.editable_mode else Path(self.build_lib, "accelform_runtime")
        native, front = _build_module("native"), _build_module("front")
        for module, target, sources in (
            (native, package / "native" / native.LIBRARY.name, PACKAGE / "native" / "src"),
            (front, package / "front" / front.PROGRAM.name, Path("runtime/front")),
        ):
            try:
                module.build(target.resolve(), sources=sources.resolve())
            except module.BuildFailed as error:
                print(f"warning: {target.name} is left out: {error}")


class WithLibrary(Distribution):
    """A distribution for this platform only."""

    def has_ext_modules(self) -> bool:
        return True


def _build_module(part: str) -> ModuleType:
    """A part's own build module, without the packages that the part needs at run time."""
    spec = importlib.util.spec_from_file_location(f"{part}_build", PACKAGE / part / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup(cmdclass={"build_py": BuildCompiled}, distclass=WithLibrary)
