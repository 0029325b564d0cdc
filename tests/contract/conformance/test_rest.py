"""Every row of the HTTP table, with Python's own HTTP client."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

import pytest
from tests.contract.conformance.behaviour import REST_ROWS
from tests.contract.conformance.row import KEY
from tests.contract.conformance.rows.rest import RestRow


@pytest.fixture(params=[False, True], ids=["plain", "tls"])
def ask(request: pytest.FixtureRequest, server: Any, certificate: Any) -> Any:
    """ask(call, body="", key=KEY): status, headers and JSON of the answer."""
    service = server("http", tls=request.param)
    port = next(line["port"] for line in service.events("listening_http"))

    def exchange(call: str, body: str = "", key: str | None = KEY) -> tuple[int, dict[str, str], Any]:
        context = ssl.create_default_context(cafile=str(certificate.roots))
        connection = (
            http.client.HTTPSConnection("localhost", port, timeout=30, context=context)
            if request.param
            else http.client.HTTPConnection("localhost", port, timeout=30)
        )
        method, path = call.split(" ")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request(method, path, body=body.encode() if method == "POST" else None, headers=headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, json.loads(text) if told["content-type"].startswith("application/json") else text

    return exchange


def problems(row: RestRow, status: int, answer: Any) -> list[str]:
    """What is wrong with an answer."""
    if status != row.expected:
        return [f"wanted {row.expected}, saw {status}: {answer}"]
    if status != 200 and not (isinstance(answer, dict) and list(answer) == ["error"] and answer["error"]):
        return [f"no error text: {answer}"]
    try:
        return [] if row.reply is None or row.reply(answer) else [f"another answer: {answer}"]
    except (KeyError, IndexError, TypeError):
        return [f"another answer: {answer}"]


def test_every_row(ask):
    """Every request of the table is answered with its status, an error as JSON, and a request id."""
    wrong = []
    for row in REST_ROWS:
        status, headers, answer = ask(row.call, row.body)
        wrong += [f"{row.call}, {row.when}: {problem}" for problem in problems(row, status, answer)]
        if not headers.get("request-id") and not headers.get("x-request-id"):
            wrong.append(f"{row.call}, {row.when}: no request id in {sorted(headers)}")

    assert not wrong, "\n".join(wrong)


def test_keys(ask):
    """Without the key a request is 401, with a text that says so."""
    status, headers, answer = ask(REST_ROWS[0].call, REST_ROWS[0].body, key=None)

    assert (status, headers["www-authenticate"], list(answer)) == (401, "Bearer", ["error"])


def test_every_difference_has_a_reason():
    """A row that ends in another way than in TensorFlow Serving says why."""
    assert [row.when for row in REST_ROWS if row.ours and (row.ours == row.theirs or not row.why)] == []
