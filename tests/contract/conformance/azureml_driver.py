"""Calls services with azureml.accel's own client, or with its stand-in; a line of JSON in, a line of JSON out.

    python azureml_driver.py real|stand-in < lists_of_actions > lists_of_results

It goes on until its input ends, because what the real client imports takes seconds. An action is {client: arguments of
PredictionClient, method, arguments}. A path stands for a file's, {strings: base64} and {numbers} for an array. A result
is {array} or {error, code}, with the pauses the client made between its attempts.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import json
import os
import sys
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import grpc
import numpy as np


def real_client(pauses: list[float]) -> Any:
    """PredictionClient of the installed azureml.accel, without azureml-core, which its scoring never uses."""
    webservice = types.ModuleType("azureml.core.webservice.aks")
    webservice.AksWebservice = object  # type: ignore[attr-defined]
    for name in ("azureml.core", "azureml.core.webservice"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = []
    sys.modules[webservice.__name__] = webservice
    package = types.ModuleType("azureml.accel")  # its __init__ wants all of azureml-core
    folder = Path(next(iter(importlib.import_module("azureml").__path__))) / "accel"
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    client = importlib.import_module("azureml.accel._client")
    client.time = types.SimpleNamespace(sleep=pauses.append)  # type: ignore[attr-defined]
    return client.PredictionClient


def stand_in(pauses: list[float]) -> Any:
    """The stand-in."""
    client = importlib.import_module("azureml_wire").AccelClient
    return lambda **arguments: client(**arguments, pause=pauses.append)


def value(given: Any) -> Any:
    """An argument as the client takes it."""
    if isinstance(given, dict) and "strings" in given:
        return np.array([base64.b64decode(text) for text in given["strings"]], dtype=object)
    if isinstance(given, dict) and "numbers" in given:
        return np.array(given["numbers"], dtype=given["dtype"])
    if isinstance(given, dict) and "tensor" in given:
        return base64.b64decode(given["tensor"]), given["shape"], given["dtype"]
    return {name: value(entry) for name, entry in given.items()} if isinstance(given, dict) else given


def result(make: Any, action: dict[str, Any], pauses: list[float]) -> dict[str, Any]:
    """What an action comes to."""
    pauses.clear()
    try:
        client = make(**action["client"])
        array = getattr(client, action["method"])(**{name: value(given) for name, given in action["arguments"].items()})
        told = {"array": array.tolist() if isinstance(array, np.ndarray) else array}
    except grpc.RpcError as error:
        told = {"error": "RpcError", "code": error.code().name}
    except Exception as error:
        told = {"error": type(error).__name__}
    return {**told, "pauses": list(pauses)}


def main() -> None:
    """Answers each list of actions on standard input."""
    pauses: list[float] = []
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # the client prints its attempts
        make = {"real": real_client, "stand-in": stand_in}[sys.argv[1]](pauses)
        for line in sys.stdin:
            results = [result(make, action, pauses) for action in json.loads(line)]
            print(json.dumps(results), file=answers, flush=True)


if __name__ == "__main__":
    main()
