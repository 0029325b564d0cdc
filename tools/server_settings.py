"""`python -m tools.server_settings`: writes the table of a server's settings in docs/serving.md from its source."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from pathlib import Path

from accelform_runtime.server.config import ServiceConfig

DOCUMENT = Path(__file__).parents[1] / "docs" / "serving.md"
BEGIN, END = "<!-- settings: written by make docs -->\n", "<!-- end of settings -->\n"


def table() -> str:
    """Name, default and meaning of each setting, as Markdown; the meaning is the text below its field."""
    rows = ["| Setting | Default | Meaning |", "| --- | --- | --- |"]
    meanings = _meanings()
    for field in dataclasses.fields(ServiceConfig):
        default = "needed" if field.default is dataclasses.MISSING else f"`{json.dumps(field.default)}`"
        rows.append(f"| `{field.name}` | {default} | {meanings[field.name]} |")
    return "\n".join(rows) + "\n"


def render(document: str) -> str:
    """The document with a new table."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


def _meanings() -> dict[str, str]:
    body = ast.parse(inspect.getsource(ServiceConfig)).body[0]
    assert isinstance(body, ast.ClassDef)
    return {
        node.target.id: " ".join(str(after.value.value).split())
        for node, after in zip(body.body, body.body[1:], strict=False)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


if __name__ == "__main__":
    DOCUMENT.write_text(render(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
