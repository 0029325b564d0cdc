"""`make up` and `make down` around a small program: repeated, interrupted, refused, and clean afterwards.

The program is a toy so that only the steps around Pulumi are under test; the real one has tests of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.ports import free_port
from tests.support.processes import kill_everything_below, processes_below
from tools.locks import stack_locks

ROOT = Path(__file__).parents[3]
# For what never comes: a busy machine takes its time.
TIMEOUT_SECONDS = 600
pytestmark = pytest.mark.timeout(3000)
STACK_FILE = '# one box\nconfig:\n  accelform:target: edge\n  accelform:port: "{port}"\n'
PROGRAM = """\
import os, time
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Provider(ResourceProvider):
    def create(self, props):
        return CreateResult("id", dict(props))
    def delete(self, _id, _props):
        if os.path.exists("../refuse-delete"):
            raise RuntimeError("the box does not answer")

if os.path.exists("../wait"):
    open("../waiting", "w").close()
    while os.path.exists("../wait"):
        time.sleep(0.05)
class Thing(Resource):
    pass

Thing(Provider(), "thing", {"size": "1"})
pulumi.export("primary_key", pulumi.Output.secret("hush"))
"""


@dataclass
class Checkout:
    """A clone with the real tools around a toy program, on the environment and engine that run the tests."""

    folder: Path

    settings: str = field(default_factory=lambda: STACK_FILE.format(port=free_port()))

    @property
    def stack_file(self) -> Path:
        return self.folder / "stacks" / "Pulumi.edge.yaml"

    def make(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        outcome = subprocess.run(
            [shutil.which("make") or "make", *arguments],
            cwd=self.folder,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert not check or outcome.returncode == 0, f"make {arguments} failed:\n{outcome.stdout}\n{outcome.stderr}"
        return outcome

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["make", *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    folder = tmp_path / "clone"
    (folder / "infra").mkdir(parents=True)
    (folder / "stacks").mkdir()
    images = folder / "examples" / "digits" / "images"
    images.mkdir(parents=True)
    (images / "digit.png").touch()
    for name in ("Makefile", "pyproject.toml", "setup.py", *(path.name for path in ROOT.glob("requirements*.lock"))):
        shutil.copyfile(ROOT / name, folder / name)
    # Compiled already, as the environment is.
    (folder / "runtime").symlink_to(ROOT / "runtime")
    (folder / "providers").symlink_to(ROOT / "providers")
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Pulumi.yaml").write_text(
        "name: accelform\nmain: infra/\nstackConfigDir: stacks\nruntime: python\n", encoding="utf-8"
    )
    (folder / "infra" / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    borrow_environment(folder)
    checkout = Checkout(folder)
    checkout.stack_file.write_text(checkout.settings, encoding="utf-8")
    yield checkout
    (folder / "wait").unlink(missing_ok=True)
    kill_everything_below(folder)  # a killed engine's language host lives on


def borrow_environment(folder: Path) -> None:
    """Give a clone a `.venv` of links to the one that runs this test, stamped as its own, with a toy `accelform`."""
    ours, theirs = Path(sys.prefix), folder / ".venv"
    (theirs / "bin").mkdir(parents=True)
    for entry in ours.iterdir():
        if entry.name not in ("bin", "lock", "accelform-stamp"):
            (theirs / entry.name).symlink_to(entry)
    for entry in (ours / "bin").iterdir():
        if entry.name != "accelform":
            (theirs / "bin" / entry.name).symlink_to(entry)
    (theirs / "bin" / "accelform").write_text('#!/bin/sh\necho "scored: $*"\n', encoding="utf-8")
    (theirs / "bin" / "accelform").chmod(0o755)
    python = subprocess.run(
        ["tools/find-python"], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
    ).stdout.strip()
    stamp = "from pathlib import Path; from tools.venv import stamp_of; print(stamp_of(Path.cwd()), end='')"
    answer = subprocess.run(
        [python, "-c", stamp], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=True
    )
    (theirs / "accelform-stamp").write_text(answer.stdout, encoding="utf-8")


def plugins(folder: Path) -> list[int]:
    """Ids of Pulumi's language hosts, programs and providers that work in `folder`."""
    kinds = ("pulumi-language", "pulumi-resource", "pulumi.dynamic")
    return [pid for pid, command in processes_below(folder) if any(kind in command for kind in kinds)]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not path.exists():
        assert process.poll() is None, f"make ended before {path.name} appeared"
        assert time.monotonic() < deadline, f"{path.name} did not appear in time"
        time.sleep(0.05)


def test_up_again_and_down(checkout: Checkout) -> None:
    """`make up` creates and scores, a second one changes nothing, `make env` opens it, `make down` leaves no trace."""
    first = checkout.make("up")
    assert "+ 2 created" in first.stdout
    assert "scored: score examples/digits/images/digit.png --stack edge" in first.stdout
    second = checkout.make("up")
    assert "2 unchanged" in second.stdout
    shell = 'eval "$(make -s env)" && pulumi stack output --show-secrets'
    outputs = subprocess.run(
        ["bash", "-euc", shell],
        cwd=checkout.folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    assert "hush" in outputs.stdout
    ended = checkout.make("down")
    assert checkout.stack_file.read_text(encoding="utf-8") == checkout.settings
    assert not (checkout.folder / ".accelform").exists()
    assert "2 deleted" in ended.stdout
    assert "pulumi stack rm" not in ended.stdout, "advice that make has followed already"
    assert "Stack edge is gone" in ended.stderr
    assert "the environment: " in ended.stderr
    assert "to remove it: make clean" in ended.stderr


def test_down_and_env_need_only_what_up_left(checkout: Checkout, tmp_path: Path) -> None:
    """After a pull that moved locks and sources, with no Go, no compiler, no cache and no network, `make env` and
    `make down` work as before: they install nothing and leave the environment as it is."""
    checkout.make("up")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "sh", "env", "dirname", "uname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        with (checkout.folder / name).open("a", encoding="utf-8") as file:
            file.write("# moved\n")
    stamp = checkout.folder / ".venv" / "accelform-stamp"
    before = stamp.read_bytes()
    bare: dict[str, Any] = {
        "PATH": str(programs),
        "XDG_CACHE_HOME": "/dev/null",
        "HOME": "/dev/null",
        "https_proxy": "http://127.0.0.1:9",
    }
    told = checkout.make("-s", "env", **bare)
    assert "PULUMI_BACKEND_URL" in told.stdout
    assert "make up updates it" in told.stderr
    ended = checkout.make("down", **bare)
    assert "2 deleted" in ended.stdout
    assert not (checkout.folder / ".accelform").exists()
    assert stamp.read_bytes() == before
    assert "installing" not in told.stderr + ended.stderr


def test_a_checkout_that_was_moved(checkout: Checkout) -> None:
    """After its folder got another name, `make down` says where it was, ends the stack, and leaves nothing."""
    checkout.make("up")
    place = checkout.folder
    checkout.folder = place.with_name("another name")
    place.rename(checkout.folder)
    ended = checkout.make("down")
    assert f"this checkout was {place} when its stacks were made" in ended.stderr
    assert "2 deleted" in ended.stdout
    assert not (checkout.folder / ".accelform").exists()


def test_what_a_killed_engine_left_is_ended(checkout: Checkout) -> None:
    """After kill -9 of the engine alone, its plugins and its program wait for nothing; `make down` ends all of them."""
    checkout.make("up")
    (checkout.folder / "wait").touch()
    process = checkout.start("up")
    wait_for(checkout.folder / "waiting", process)
    engines = [pid for pid, command in processes_below(checkout.folder) if command.startswith("pulumi\0up")]
    for engine in engines:
        os.kill(engine, signal.SIGKILL)
    process.wait(timeout=TIMEOUT_SECONDS)
    assert engines
    assert plugins(checkout.folder), "nothing was left to end"
    ended = checkout.make("down")
    assert "processes that an engine left when it was killed" in ended.stderr
    assert list(plugins(checkout.folder)) == []


def test_lock_of_a_killed_pulumi_is_cancelled(checkout: Checkout) -> None:
    """After kill -9 of everything in the middle of an update, the next `make up` says so and goes through."""
    (checkout.folder / "wait").touch()
    process = checkout.start("up")
    wait_for(checkout.folder / "waiting", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (checkout.folder / "wait").unlink()
    locks = stack_locks(checkout.folder / ".accelform" / "state", stack="edge", project="accelform")
    assert len(locks) == 1
    deadline = time.monotonic() + 10
    while not locks[0].holder_is_gone():
        assert time.monotonic() < deadline, "the killed pulumi still runs"
        time.sleep(0.05)
    again = checkout.make("up")
    assert "was ended in the middle of an update" in again.stderr
    assert "pending operations" not in again.stdout, "an interrupted create leaves no warning behind"
    assert "+ 2 created" in again.stdout
    checkout.make("down")
    assert plugins(checkout.folder) == [], "what the killed engine left was ended"


def test_lock_of_a_live_pulumi_is_respected(checkout: Checkout) -> None:
    """While somebody alive changes the stack, a second `pulumi` is not let in and the first is not disturbed."""
    (checkout.folder / "wait").touch()
    shell = 'eval "$(make -s env)" && pulumi stack init edge && exec pulumi up --yes --skip-preview'
    first = subprocess.Popen(
        ["bash", "-euc", shell], cwd=checkout.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_for(checkout.folder / "waiting", first)
    second = checkout.make("up", check=False)
    assert second.returncode != 0
    assert f"pid {first.pid}" in second.stderr
    (checkout.folder / "wait").unlink()
    assert first.wait(timeout=TIMEOUT_SECONDS) == 0
    checkout.make("down")


def test_failed_destroy_keeps_the_state(checkout: Checkout) -> None:
    """When destroy fails, nothing of the record is removed; once the reason is gone `make down` finishes."""
    checkout.make("up")
    (checkout.folder / "refuse-delete").touch()
    refused = checkout.make("down", check=False)
    assert refused.returncode != 0
    assert "the box does not answer" in refused.stdout + refused.stderr
    assert "Nothing was removed from .accelform/" in refused.stderr
    (checkout.folder / "refuse-delete").unlink()
    checkout.make("down")
    assert not (checkout.folder / ".accelform").exists()


def test_down_keeps_what_another_stack_needs(checkout: Checkout) -> None:
    """Ending one of two stacks leaves the other one up, and both stack files as they were."""
    checkout.make("up")
    second = checkout.settings.replace("one box", "another").replace(": edge", ": edge # too")
    (checkout.folder / "stacks" / "Pulumi.second.yaml").write_text(second, encoding="utf-8")
    checkout.make("up", "STACK=second")
    assert "second" in checkout.make("down").stderr
    assert "2 unchanged" in checkout.make("up", "STACK=second").stdout
    checkout.make("down", "STACK=second")
    assert not (checkout.folder / ".accelform").exists()
    assert (checkout.folder / "stacks" / "Pulumi.second.yaml").read_text(encoding="utf-8") == second


def test_stack_file_left_with_a_foreign_salt(checkout: Checkout) -> None:
    """A salt that an earlier, removed state left in the stack file does not lock the next `make up` out."""
    checkout.make("up")
    shutil.rmtree(checkout.folder / ".accelform")
    again = checkout.make("up")
    assert "removed the encryptionsalt" in again.stderr
    checkout.make("down")
    assert checkout.stack_file.read_text(encoding="utf-8") == checkout.settings
