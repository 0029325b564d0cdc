"""Every row of the conformance table, called with TensorFlow Serving's published stubs, OpenVINO's, and our own."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conformance.behaviour import ROWS
from tests.contract.conformance.row import ROOT, Row

PACKAGES = ["accelform", "tensorflow-serving-api", "ovmsclient"]
INTERNALS = ("Traceback", ".py", ".go", "goroutine", "/tmp", "site-packages")


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def case(row: Row, service: Any, tls: bool, model_root: Path) -> dict[str, Any]:
    """The row as driver.py takes it."""
    metadata = [["authorization", f"Bearer {row.key}"]] if row.key is not None else []
    asked = {
        "rpc": row.rpc,
        "request": placed(row.request, str(model_root)),
        "address": service.address,
        "roots": str(service.roots) if tls else None,
        "metadata": metadata,
        "timeout": row.timeout,
        "copies": row.copies,
    }
    return asked if row.raw is None else {**asked, "raw": base64.b64encode(row.raw).decode()}


def placed(value: Any, root: str) -> Any:
    """`value` with the folder of models where it stands for."""
    if isinstance(value, str):
        return value.replace(ROOT, root, 1) if value.startswith(ROOT) else value
    if isinstance(value, dict):
        return {key: placed(entry, root) for key, entry in value.items()}
    return [placed(entry, root) for entry in value] if isinstance(value, list) else value


def problems(row: Row, seen: list[dict[str, Any]]) -> list[str]:
    """What is wrong with what was seen of a row."""
    codes = [call["code"] for call in seen]
    if row.copies > 1:
        found = (
            [] if {row.expected, "OK"} == set(codes) else [f"wanted some {row.expected} and the rest OK, saw {codes}"]
        )
    else:
        found = [] if codes[0] == row.expected else [f"wanted {row.expected}, saw {codes[0]}: {seen[0]['details']}"]
    if found:
        return found if codes[0] not in row.also else []
    for call in seen:
        if row.expected != "DEADLINE_EXCEEDED" and not dict(call["initial"]).get("request_id"):
            found.append("no request_id in the initial metadata")
        found += [f"its text lacks {word!r}: {call['details']}" for word in row.naming if word not in call["details"]]
        found += [
            f"its text shows {word!r}: {call['details']}" for word in INTERNALS if word in (call["details"] or "")
        ]
        if row.reply is not None and call["code"] == "OK" and not told(row, call["reply"]):
            found.append(f"another answer: {call['reply']}")
    return found


def told(row: Row, reply: Any) -> bool:
    """Whether the answer is what the row says."""
    assert row.reply is not None
    try:
        return row.reply(reply)
    except (KeyError, IndexError):
        return False


@pytest.mark.parametrize("package", PACKAGES)
def test_every_row(drive, server, model_root, tls, package):
    """With any package's stubs, every situation of the table ends as the table says."""
    cases = [case(row, server(row.server, tls=tls), tls, model_root) for row in ROWS]

    seen = drive(package, cases)

    rows = zip(ROWS, seen, strict=True)
    wrong = [f"{row.rpc}, {row.when}: {problem}" for row, calls in rows for problem in problems(row, calls)]
    assert not wrong, "\n".join(wrong)


def test_every_difference_has_a_reason():
    """A row that ends in another way than in TensorFlow Serving says why, and names no reason otherwise."""
    assert [f"{row.rpc}: {row.when}" for row in ROWS if row.ours and (row.ours == row.theirs or not row.why)] == []


def test_rows_are_told_apart():
    """No situation is in the table twice."""
    assert len({(row.rpc, row.when) for row in ROWS}) == len(ROWS)
