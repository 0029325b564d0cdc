"""`python -m tools.licences`: write the licences of the front's Go modules, which go into every image with it.

The table at the beginning has a line for each module: its path, its version, and its licence as SPDX names it. The
texts follow, each once, under the modules that have it.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

from tools.progress import StepFailed, reported
from tools.sources import PROJECT
from tools.toolchain.gobuild import run_go

FRONT = PROJECT / "runtime" / "front"
TARGET = PROJECT / "runtime" / "accelform_runtime" / "front" / "LICENSES.txt"
TEXTS = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|PATENTS)([.-].*)?", re.IGNORECASE)
# SPDX's name, and words that are in this licence and in none of those before it.
KNOWN = (
    ("Apache-2.0", r"Apache License\s+Version 2\.0"),
    ("MPL-2.0", r"Mozilla Public License"),
    ("BSD-3-Clause", r"Neither the name"),
    ("BSD-2-Clause", r"Redistributions in binary form"),
    ("MIT", r"Permission is hereby granted, free of charge"),
    ("ISC", r"Permission to use, copy, modify, and(/or)? distribute"),
)
STANDARD_LIBRARY = "std"


def document() -> str:
    """Return the whole file; raises StepFailed for a module without a licence that is known."""
    rows, texts = [], defaultdict(list)
    for path, version, folder in modules():
        files = sorted(file for file in folder.iterdir() if file.is_file() and TEXTS.fullmatch(file.name))
        contents = [file.read_text(encoding="utf-8").strip() for file in files]
        name = next((name for text in contents for name, words in KNOWN if re.search(words, text)), None)
        if name is None:
            raise StepFailed(f"{path} {version} has no licence that is known in {folder}; look, and add it to KNOWN")
        rows.append(f"{path} {version} {name}")
        for text in contents:
            texts[text].append(f"{path} {version}")
    blocks = [f"{'=' * 80}\n{chr(10).join(users)}\n{'=' * 80}\n\n{text}\n" for text, users in texts.items()]
    return "\n".join(["Go modules in accelform-front\n", *rows, "", *blocks])


def modules() -> list[tuple[str, str, Path]]:
    """Return path, version and folder of each module whose code is in the program, and of Go's own library."""
    form = "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}"
    lines = {line for line in run_go(["list", "-deps", "-f", form, "."], FRONT).splitlines() if line}
    root = run_go(["env", "GOROOT"], FRONT).strip()
    found = [tuple(line.split(" ", 2)) for line in sorted(lines)]
    return [
        *((path, version, Path(folder)) for path, version, folder in found),
        (STANDARD_LIBRARY, "any", Path(root)),
    ]


def main() -> int:
    """Write the file; 0, or 1 with what to do."""
    return reported(lambda: TARGET.write_text(document(), encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
