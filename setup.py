"""What pyproject.toml can't say: the native engine is compiled where there is a C compiler.

Without one, and where it fails, the installation goes on: models then run in onnxruntime.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

NATIVE = Path("runtime/accelform_runtime/native")


class BuildWithNative(build_py):
    """Adds the library to the package: in the source tree of an editable installation, else in the wheel."""

    def run(self) -> None:
        super().run()
        native = _build_module()
        folder = NATIVE if self.editable_mode else Path(self.build_lib, "accelform_runtime", "native")
        try:
            native.build((folder / native.LIBRARY.name).resolve(), sources=(NATIVE / "src").resolve())
        except native.BuildFailed as error:
            print(f"warning: the native engine is left out: {error}")


class WithLibrary(Distribution):
    """A distribution for this platform only."""

    def has_ext_modules(self) -> bool:
        return True


def _build_module() -> ModuleType:
    """The package's own build module, without the packages that it needs at run time."""
    spec = importlib.util.spec_from_file_location("native_build", NATIVE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup(cmdclass={"build_py": BuildWithNative}, distclass=WithLibrary)
