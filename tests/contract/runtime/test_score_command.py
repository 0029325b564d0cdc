"""`accelform score` as a user runs it: a process, a stack's outputs, an exit code."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.support import split_bundle as split
from tests.support.side_door import side_door

PRIMARY = "primary-key-0123456789abcdef"
SLOW = 255


@pytest.fixture
def picture(tmp_path, image) -> Path:
    path = tmp_path / "digit.png"
    path.write_bytes(image())
    return path


class Project:
    """A folder with Pulumi.yaml, and a `pulumi` program that answers as the real one does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "Pulumi.yaml").write_text("name: accelform\n")
        self.bin = folder / "bin"
        self.bin.mkdir()

    def pulumi(self, *, outputs: dict | None = None, error: str = "") -> None:
        answer = self.folder / "answer.json"
        answer.write_text(json.dumps(outputs or {}))
        script = self.bin / "pulumi"
        body = f"echo '{error}' >&2; exit 255" if error else f'echo "$@" > {self.folder}/asked; cat {answer}'
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    def score(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder)}
        return subprocess.run(
            [sys.executable, "-m", "accelform.cli.main", "score", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def project(tmp_path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder)


@pytest.fixture
def named(start, bundle, tmp_path):
    """A service whose model has names for its classes."""
    folder = tmp_path / "named"
    shutil.copytree(bundle, folder)
    description = json.loads((folder / "bundle.json").read_text())
    labels = [f"digit {label}" for label in description["labels"]]
    (folder / "bundle.json").write_text(json.dumps({**description, "labels": labels}))
    return start(model_folder=folder)


@pytest.fixture
def deployed(project, service) -> Project:
    """A project whose stack points at the running service, and remembers labels of a model that is not there."""
    project.pulumi(
        outputs={
            "scoring_uri": f"http://{service.address}",
            "service_name": "digits-service",
            "primary_key": PRIMARY,
            "labels": [f"another {number}" for number in range(10)],
        }
    )
    return project


def test_labels_are_those_of_what_serves(deployed, named, picture, tmp_path):
    """Not those that the stack remembers; over an address too; a file of one's own goes before them."""
    deployed.pulumi(outputs={"scoring_uri": f"http://{named.address}", "primary_key": PRIMARY, "labels": ["x"] * 10})
    key_file, mine = tmp_path / "key", tmp_path / "mine.txt"
    key_file.write_text(PRIMARY)
    mine.write_text("".join(f"my {number}\n" for number in range(10)))

    def label(*arguments: str) -> str:
        answer = deployed.score(str(picture), "--json", *arguments)
        assert answer.returncode == 0, answer.stderr
        best = json.loads(answer.stdout)["predictions"][0]
        return best["label"].replace(str(best["class"]), "N")

    assert label() == "digit N"
    assert label("--address", named.address, "--key-file", str(key_file)) == "digit N"
    assert label("--labels", str(mine)) == "my N"


def test_table(deployed, picture):
    """The table has the best five classes by label, the measured round trip and the modelled FPGA latency."""
    answer = deployed.score(str(picture), "--stack", "edge")

    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["class", "probability"]
    assert all(line.split()[0].isdigit() for line in lines[1:6])
    percentages = [float(line.split()[-1].rstrip("%")) for line in lines[1:6]]
    assert percentages == sorted(percentages, reverse=True)
    assert any("round trip" in line and "ms measured" in line for line in lines)
    assert any("FPGA latency" in line and "1.78 ms modelled" in line for line in lines)
    asked = (deployed.folder / "asked").read_text()
    assert "--stack edge" in asked
    assert "--show-secrets" in asked


def test_json(deployed, picture):
    """--json is one object with labels, probabilities and times in named units."""
    answer = deployed.score(str(picture), "--json", "--top", "2")

    content = json.loads(answer.stdout)
    assert len(content["predictions"]) == 2
    best = content["predictions"][0]
    assert best["label"] == str(best["class"])
    assert content["fpga"]["latency_ms"] == 1.78
    assert content["round_trip_ms"] > content["server_ms"] > 0
    assert content["model"] == {"name": "resnet50-digits", "version": 3}


def test_the_key_is_never_shown(deployed, picture):
    """The key is in no output, and no process gets it as an argument or in its environment."""
    answer = deployed.score(str(picture))

    assert PRIMARY not in answer.stdout + answer.stderr
    assert PRIMARY not in (deployed.folder / "asked").read_text()


def test_address_and_key_file(project, service, picture, tmp_path):
    """Without a stack, --address and --key-file say where and with which key; classes are then numbers."""
    key_file = tmp_path / "key"
    key_file.write_text(PRIMARY + "\n")

    answer = project.score(str(picture), "--address", service.address, "--key-file", str(key_file), "--json")

    assert answer.returncode == 0, answer.stderr
    best = json.loads(answer.stdout)["predictions"][0]
    assert best["label"] == str(best["class"])


def test_wrong_key(project, service, picture, tmp_path):
    """A refused key is exit code 2 and says which key is meant, without repeating it."""
    key_file = tmp_path / "key"
    key_file.write_text("wrong-key-987654")

    answer = project.score(str(picture), "--address", service.address, "--key-file", str(key_file))

    assert answer.returncode == 2
    assert "primary or secondary key" in answer.stderr
    assert "wrong-key-987654" not in answer.stderr


def test_not_an_image(deployed, tmp_path):
    """A file that is no image is exit code 2 and names the file and the accepted kinds."""
    path = tmp_path / "notes.txt"
    path.write_text("no image")

    answer = deployed.score(str(path))

    assert answer.returncode == 2
    assert "notes.txt" in answer.stderr
    assert "JPEG, PNG, GIF or BMP" in answer.stderr


def test_missing_image(deployed):
    """A missing file is exit code 2 before anything is called."""
    answer = deployed.score("nowhere.png")

    assert answer.returncode == 2
    assert "nowhere.png" in answer.stderr
    assert not (deployed.folder / "asked").exists()


def test_service_down(project, picture):
    """Where nothing listens it is exit code 2 within the timeout, with the address."""
    project.pulumi(outputs={"scoring_uri": "http://127.0.0.1:9", "primary_key": PRIMARY})

    answer = project.score(str(picture), "--timeout", "1")

    assert answer.returncode == 2
    assert "127.0.0.1:9" in answer.stderr
    assert "deployed and serving" in answer.stderr


def test_no_pulumi(project, picture):
    """Without pulumi on PATH it is exit code 2 and says how to get one."""
    answer = project.score(str(picture))

    assert answer.returncode == 2
    assert "pulumi is not on PATH" in answer.stderr
    assert "make up" in answer.stderr


def test_no_such_stack(project, picture):
    """Pulumi's own reason is passed on with exit code 2."""
    project.pulumi(error="error: no stack named staging found")

    answer = project.score(str(picture), "--stack", "staging")

    assert answer.returncode == 2
    assert "no stack named" in answer.stderr
    assert "pulumi up -s staging" in answer.stderr


def test_stack_without_service(project, picture):
    """A stack that deployed nothing yet is exit code 2 and says so."""
    project.pulumi(outputs={"model_version": 1})

    answer = project.score(str(picture))

    assert answer.returncode == 2
    assert "scoring_uri" in answer.stderr


def test_stack_made_by_make(deployed, picture):
    """Where make up made the stack and the shell names no backend, the exports of make env apply."""
    stacks = deployed.folder / ".accelform" / "state" / ".pulumi" / "stacks" / "accelform"
    stacks.mkdir(parents=True)
    (stacks / "edge.json").write_text("{}")
    (deployed.folder / "tools").mkdir()
    (deployed.folder / "tools" / "env.py").write_text("print('export PULUMI_BACKEND_URL=file:///exported')\n")
    script = deployed.bin / "pulumi"
    script.write_text(script.read_text().replace('echo "$@"', 'echo "$@" $PULUMI_BACKEND_URL'))

    answer = deployed.score(str(picture))

    assert answer.returncode == 0, answer.stderr
    assert "file:///exported" in (deployed.folder / "asked").read_text()


def test_outside_a_project(project, picture, tmp_path):
    """Without Pulumi.yaml around, it is exit code 2 and says where to run it."""
    os.remove(project.folder / "Pulumi.yaml")

    answer = project.score(str(picture))

    assert answer.returncode == 2
    assert "Pulumi.yaml" in answer.stderr


def tensor_file(folder: Path, image: np.ndarray) -> str:
    path = folder / "tensor.npy"
    np.save(path, image)
    return str(path)


def of_tensors(tensor_service, tmp_path) -> list[str]:
    """The arguments that name the service of tensors."""
    key_file = tmp_path / "key"
    key_file.write_text(PRIMARY)
    return ["--address", tensor_service.address, "--key-file", str(key_file)]


def test_tensor(project, tensor_service, tmp_path):
    """A .npy file is sent as it is; one output of classes is shown as classes, with what computed it."""
    image = tensor_file(tmp_path, split.plain_image())

    answer = project.score(image, *of_tensors(tensor_service, tmp_path), "--output", "output_alias", "--top", "3")

    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    assert lines[0].split() == ["class", "probability"]
    assert lines[4] == ""
    assert any(line.split(None, 2)[-1] == "onnxruntime, bw-a10-cnn, no bitstream, emulation only" for line in lines[5:])


def test_several_outputs(project, tensor_service, tmp_path):
    """Outputs that are no vector of classes are listed with shape and range."""
    image = tensor_file(tmp_path, split.plain_image())

    answer = project.score(image, *of_tensors(tensor_service, tmp_path), "--input", split.INPUT)

    assert answer.returncode == 0, answer.stderr
    maps = next(line for line in answer.stdout.splitlines() if line.startswith(split.MAPS))
    assert "1 x 4 x 4 x 8, 0 to " in maps


@pytest.mark.parametrize(
    ("image", "how", "words"),
    [
        (split.plain_image(), "proven", "all 128 sums proven"),
        (split.uneven_image(), "definition", "of 128 sums proven"),
    ],
)
def test_exactness(project, tensor_service, tmp_path, image, how, words):
    """--exactness tells why the answer equals the definition, in words and in JSON."""
    arguments = [tensor_file(tmp_path, image), *of_tensors(tensor_service, tmp_path), "--exactness"]

    told = project.score(*arguments)
    content = json.loads(project.score(*arguments, "--json").stdout)

    assert words in next(line for line in told.stdout.splitlines() if line.startswith("exactness"))
    assert content["exactness"]["how"] == how
    assert content["exactness"]["sums"] == split.SUMS


def test_hostile_tensors(project, tensor_service, tmp_path):
    """A pickle in a .npy file is not opened, and damaged files are told as such."""
    path = tmp_path / "objects.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    arguments = of_tensors(tensor_service, tmp_path)

    pickled = project.score(str(path), *arguments)
    path.write_bytes(b"\x93NUMPY\x01")
    damaged = project.score(str(path), *arguments)

    for answer in (pickled, damaged):
        assert answer.returncode == 2
        assert "objects.npy is not a .npy file of numbers" in answer.stderr


def test_tensor_of_another_shape(project, tensor_service, tmp_path):
    """What the service expects is passed on, with exit code 2."""
    answer = project.score(tensor_file(tmp_path, np.zeros((4, 4), "f4")), *of_tensors(tensor_service, tmp_path))

    assert answer.returncode == 2
    assert "takes shape [-1, 3, 4, 4]" in answer.stderr


@pytest.fixture(scope="module")
def with_http(tmp_path_factory, bundle, started, ready_service):
    """A server that has both ports."""
    return ready_service(
        started(tmp_path_factory.mktemp("ports") / "service", bundle, {"http_enabled": True, "http_port": 0})
    )


@pytest.mark.parametrize("scheme", ["", "http://", "https://"])
def test_the_http_port_says_that_it_is_not_grpcs(project, with_http, eventually, picture, scheme):
    """Asked by gRPC at its HTTP port, the answer is which port is which; so it is whatever the address begins with."""
    address = f"127.0.0.1:{side_door(with_http, eventually, PRIMARY).port}"

    answer = project.score(str(picture), "--address", f"{scheme}{address}", "--timeout", "1")

    assert answer.returncode == 2
    assert "speaks HTTP/1.1, as a service's HTTP port does" in answer.stderr
    assert "scoring_uri" in answer.stderr
    assert f"http://{address}/v1/models/" in answer.stderr


def test_tls_where_there_is_none(project, service, picture):
    """The gRPC port in plain text, called with TLS, says so and how to call it."""
    answer = project.score(str(picture), "--address", f"https://{service.address}", "--timeout", "1")

    assert answer.returncode == 2
    assert "speaks plain text and was called with TLS" in answer.stderr
    assert f"http://{service.address}" in answer.stderr
