"""`python3 -m tools.stack up|preview|down`: the steps behind `make up`, `make preview` and `make down`.

Pulumi itself does the work; around it: the environment, the engine, the stack on a file backend in `.accelform/`, a
lock that a killed `pulumi` left behind, and after `down` a tree as clean as before.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools.env import HOME_FOLDER, STATE_FOLDER, process_environment
from tools.locks import stack_locks
from tools.orphans import end_orphans
from tools.plugins import place_plugin
from tools.progress import StepFailed, elapsed, say
from tools.samefile import is_still_at
from tools.stackfile import drop_salt, has_secrets
from tools.toolchain.__main__ import ensure_pulumi
from tools.venv import PROJECT, ensure_environment

PULUMI_PROJECT = "accelform"
SAMPLE_IMAGES = PROJECT / "examples" / "digits" / "images"
WRITTEN_BY_TOOLS = ("passphrase", "lock", "state", "pulumi-home")
SCORE_TIMEOUT_SECONDS = 120


def stack_file(stack: str) -> Path:
    """Return the configuration file of a stack."""
    return PROJECT / "stacks" / f"Pulumi.{stack}.yaml"


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one command work on this checkout's stacks at a time; a second one waits and says so."""
    state = PROJECT / STATE_FOLDER
    while True:
        state.mkdir(mode=0o700, exist_ok=True)
        with (state / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("  another make works on the stacks of this checkout; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            # `make down` removes the folder with the lock in it.
            if is_still_at(state / "lock", lock.fileno()):
                yield
                return


def prepare(stack: str) -> Mapping[str, str]:
    """Set up Python and Pulumi, select the stack (made when it is new), and return the environment `pulumi` runs in."""
    say("[1/4] Python environment")
    ensure_environment()
    say("[2/4] Pulumi engine")
    environment = process_environment(ensure_pulumi())
    place_plugin(PROJECT / STATE_FOLDER / HOME_FOLDER, stack_file(stack))
    say(f"[3/4] stack {stack} on {environment['PULUMI_BACKEND_URL']}")
    if stack not in existing_stacks(environment):
        _create(stack, environment)
    pulumi(environment, "stack", "select", stack, "--non-interactive", quiet=True)
    free_stale_lock(stack, environment)
    return environment


def existing_stacks(environment: Mapping[str, str]) -> list[str]:
    """Return the names of this project's stacks on the backend."""
    answer = pulumi(environment, "stack", "ls", "--json", "--non-interactive", quiet=True)
    return [entry["name"].rsplit("/", 1)[-1] for entry in json.loads(answer)]


def free_stale_lock(stack: str, environment: Mapping[str, str]) -> None:
    """Cancel the update of a `pulumi` that is dead; raises StepFailed when somebody alive holds the stack."""
    backend = Path(environment["PULUMI_BACKEND_URL"].removeprefix("file://"))
    locks = stack_locks(backend, stack=stack, project=PULUMI_PROJECT)
    alive = [lock for lock in locks if not lock.holder_is_gone()]
    if alive:
        raise StepFailed(
            f"stack {stack} is being changed by {'; '.join(str(lock) for lock in alive)}. Wait until that ends. "
            'When it is certain that nothing runs there any more: eval "$(make -s env)" && pulumi cancel'
        )
    if locks:
        say(f"  {locks[0]} was ended in the middle of an update; cancelling that update")
        pulumi(environment, "cancel", "--yes", "--stack", stack, "--non-interactive", quiet=True)
        end_orphans(PROJECT / "infra")
        # Creates adopt what they find, so a note about an interrupted one would only alarm.
        clear = ("--yes", "--skip-preview", "--clear-pending-creates", "--stack", stack, "--non-interactive")
        pulumi(environment, "refresh", *clear, quiet=True)


def pulumi(environment: Mapping[str, str], *arguments: str, quiet: bool = False) -> str:
    """Run `pulumi`; shows its output, or with `quiet` returns what it prints. Raises StepFailed when it fails."""
    # Ctrl-C reaches pulumi too, which then finishes what it is doing; ending before it does would leave its lock.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if not quiet else None
    try:
        answer = subprocess.run(
            ["pulumi", *arguments],
            cwd=PROJECT,
            env=dict(environment),
            capture_output=quiet,
            text=True,
            check=False,
            preexec_fn=_default_interrupt,
        )
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
    if answer.returncode != 0:
        detail = f":\n{answer.stdout}{answer.stderr}" if quiet else f" with exit code {answer.returncode}; see above"
        raise StepFailed(f"pulumi {' '.join(arguments[:2])} failed{detail}")
    return answer.stdout if quiet else ""


def up(stack: str) -> None:
    """Bring a stack to what the program declares, then score one image on it."""
    started = time.monotonic()
    environment = prepare(stack)
    say("[4/4] pulumi up")
    pulumi(environment, "up", "--yes", "--stack", stack)
    images = sorted(SAMPLE_IMAGES.glob("*.png"))
    if not images:
        raise StepFailed(f"there is no image in {SAMPLE_IMAGES} to score; restore it with git checkout")
    image = images[len(images) // 2].relative_to(PROJECT)
    say(f"\naccelform score {image} --stack {stack}")
    command = [str(PROJECT / ".venv" / "bin" / "accelform"), "score", str(image), "--stack", stack]
    try:
        subprocess.run(command, cwd=PROJECT, env=dict(environment), timeout=SCORE_TIMEOUT_SECONDS, check=True)
    except subprocess.SubprocessError as error:
        raise StepFailed(f"stack {stack} is up, but scoring {image} did not succeed; see above ({error})") from error
    say(f"\nStack {stack} is up ({elapsed(time.monotonic() - started)}).")
    say('Plain pulumi commands work after eval "$(make -s env)"; make down ends it.')


def preview(stack: str) -> None:
    """Show what `up` would change, and change nothing."""
    environment = prepare(stack)
    say("[4/4] pulumi preview")
    pulumi(environment, "preview", "--stack", stack)


def down(stack: str) -> None:
    """Destroy a stack and remove all that `up` made; keeps `.accelform/` when anything still needs it."""
    state = PROJECT / STATE_FOLDER
    others: list[str] = []
    if (state / "state" / ".pulumi").exists():
        ensure_environment()
        environment = process_environment(ensure_pulumi())
        stacks = existing_stacks(environment)
        if stack in stacks:
            free_stale_lock(stack, environment)
            _destroy(stack, environment)
        else:
            say(f"stack {stack} is not up")
        others = [name for name in stacks if name != stack]
    else:
        unknown = sorted(entry.name for entry in state.iterdir() if entry.name not in WRITTEN_BY_TOOLS)
        if unknown:
            raise StepFailed(
                f"there is no Pulumi state in {STATE_FOLDER}/ any more, but {', '.join(unknown)} is in it, and a "
                f"service may still run from there. Stop what runs (pgrep -f {state}), then remove {state} by hand."
            )
        say("nothing is up")
    if has_secrets(stack_file(stack)):
        say(f"{STATE_FOLDER}/passphrase stays: {stack_file(stack).relative_to(PROJECT)} holds values encrypted with it")
        _empty(state, keep=("passphrase", "lock"))
        return
    drop_salt(stack_file(stack))
    if others:
        say(f"{STATE_FOLDER}/ stays: it holds the stacks {', '.join(others)} (make down STACK=...)")
        return
    shutil.rmtree(state)


def _create(stack: str, environment: Mapping[str, str]) -> None:
    if drop_salt(stack_file(stack)):
        say("  removed the encryptionsalt of an earlier stack from the stack file")
    try:
        pulumi(environment, "stack", "init", stack, "--non-interactive", quiet=True)
    except StepFailed as failure:
        if not has_secrets(stack_file(stack)):
            raise
        raise StepFailed(
            f"{failure}\n{stack_file(stack)} holds encrypted values. If the passphrase is what is wrong, put the one "
            f"they were encrypted with into {environment['PULUMI_CONFIG_PASSPHRASE_FILE']}; or remove these values and "
            "the encryptionsalt line and set them again with `pulumi config set --secret`."
        ) from failure


def _destroy(stack: str, environment: Mapping[str, str]) -> None:
    try:
        pulumi(environment, "destroy", "--yes", "--stack", stack)
    except StepFailed as failure:
        raise StepFailed(
            f"{failure}. Nothing was removed from {STATE_FOLDER}/: what is still up is recorded there. Put right what "
            "destroy complains about and run make down again."
        ) from failure
    pulumi(environment, "stack", "rm", stack, "--yes", "--preserve-config", "--non-interactive", quiet=True)


def _empty(folder: Path, *, keep: tuple[str, ...]) -> None:
    for entry in folder.iterdir():
        if entry.name not in keep:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    """Run one command; 0, or 1 with what to do next on standard error."""
    parser = argparse.ArgumentParser(prog="tools.stack", description=__doc__)
    parser.add_argument("command", choices=("up", "preview", "down"))
    parser.add_argument("--stack", default="edge", help="the stack to work on (default: edge)")
    arguments = parser.parse_args()
    try:
        with one_at_a_time():
            {"up": up, "preview": preview, "down": down}[arguments.command](arguments.stack)
    except StepFailed as failure:
        say(f"error: {failure}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
