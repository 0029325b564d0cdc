"""`python -I run.py FOLDER`: starts the importer without the rest of Accelform and the caller's Python path."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "accelform_importer"


def main() -> int:
    here = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(NAME, here / "__init__.py", submodule_search_locations=[str(here)])
    if spec is None or spec.loader is None:
        raise ImportError(f"{here} is incomplete; install Accelform again")
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)
    return int(importlib.import_module(f"{NAME}.main").main(Path(sys.argv[1])))


if __name__ == "__main__":
    sys.exit(main())
