"""`python -m tests.contract.conformance.document`: writes the tables of docs/protocol.md from behaviour.py."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.contract.conformance.behaviour import REST_ROWS, ROWS
from tests.contract.conformance.row import MODEL

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"
BEGIN, END = "<!-- conformance: written by make generate -->\n", "<!-- end of conformance -->\n"


def tables() -> str:
    """A table for each method, and one for HTTP."""
    methods = dict.fromkeys(row.rpc for row in ROWS)
    return "\n".join(
        (
            *(
                _table(
                    rpc,
                    (
                        (
                            row.when,
                            f"`{row.theirs}`",
                            row.says,
                            f"`{row.ours}`" if row.ours else "",
                            row.why,
                            row.source,
                        )
                        for row in ROWS
                        if row.rpc == rpc
                    ),
                )
                for rpc in methods
            ),
            _table(
                "HTTP",
                (
                    (
                        f"`{row.call.replace(MODEL, 'NAME')}`, {row.when}",
                        str(row.theirs),
                        row.says,
                        str(row.ours or ""),
                        row.why,
                        row.source,
                    )
                    for row in REST_ROWS
                ),
            ),
        )
    )


def _table(title: str, rows: Iterable[tuple[str, str, str, str, str, str]]) -> str:
    lines = [f"### {title}", "", "| When | TensorFlow Serving | Here | Read in |", "| --- | --- | --- | --- |"]
    for when, theirs, says, ours, why, source in rows:
        here = f"{ours or 'same'}: {why}" if why else "same"
        lines.append(f"| {when} | {theirs}: {says} | {here} | {source} |")
    return "\n".join([*lines, ""])


def replaced(text: str) -> str:
    """`text` with the tables between their marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
