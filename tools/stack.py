"""`python3 -m tools.stack up|preview|down`: the steps behind `make up`, `make preview` and `make down`.

Pulumi itself does the work; around it: the environment, the engine, the stack on a file backend in `.accelform/`, a
lock that a killed `pulumi` left behind, and after `down` a tree as clean as before.
"""

from __future__ import annotations

import argparse
import difflib
import fcntl
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tools import made, preflight, stackfile
from tools.env import HOME_FOLDER, process_environment
from tools.footprint import last_words
from tools.locks import stack_locks
from tools.made import STATE_FOLDER
from tools.orphans import end_orphans, running_below
from tools.plugins import place_plugin
from tools.progress import StepFailed, elapsed, exit_on_sigterm, reported, say
from tools.samefile import is_still_at
from tools.sources import PROJECT
from tools.stackfile import declared_stacks, drop_salt, has_secrets, made_stacks
from tools.toolchain.__main__ import ensure_pulumi
from tools.venv import ensure_environment

PULUMI_PROJECT = "accelform"
SAMPLE_IMAGES = PROJECT / "examples" / "digits" / "images"
WRITTEN_BY_TOOLS = ("passphrase", "lock", "state", "pulumi-home", made.RECORD)
# Pulumi's advice after a destroy; make does the rest itself, and has its own last words.
ADVICE = re.compile(
    r"The resources in the stack have been deleted, but|If you want to remove the stack|completely, run `"
)
SCORE_TIMEOUT_SECONDS = 120


def stack_file(stack: str) -> Path:
    """Return the configuration file of a stack."""
    return stackfile.stack_file(PROJECT, stack)


def check_name(stack: str) -> bool:
    """Tell whether a stack was made already; raises StepFailed for a name that no stack has."""
    exists = made_stacks(PROJECT / STATE_FOLDER / "state")
    known = sorted({*declared_stacks(PROJECT), *exists})
    if stack not in known:
        near = difflib.get_close_matches(stack, known, n=1)
        raise StepFailed(
            f"there is no stack {stack}"
            + (f"; did you mean {near[0]}?" if near else ".")
            + f" Known: {', '.join(known)}. A stack of your own begins with its file: {stack_file(stack)}"
        )
    return stack in exists


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
    preflight.check(PROJECT, stack, deploys=not check_name(stack))
    say("[1/4] Python environment")
    ensure_environment()
    say("[2/4] Pulumi engine")
    toolchain = ensure_pulumi()
    if place := made.moved_from():
        say(f"  this checkout was {place} when its stacks were made; it is recorded here from now on")
    made.write(toolchain)
    environment = process_environment(toolchain)
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
    if ended := end_orphans(PROJECT):
        say(f"  ended {ended} processes that an engine left when it was killed")
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
        # Creates adopt what they find, so a note about an interrupted one would only alarm.
        clear = ("--yes", "--skip-preview", "--clear-pending-creates", "--stack", stack, "--non-interactive")
        pulumi(environment, "refresh", *clear, quiet=True)


def pulumi(
    environment: Mapping[str, str], *arguments: str, quiet: bool = False, without: re.Pattern[str] | None = None
) -> str:
    """Run `pulumi`; shows its output, but for lines `without` says; with `quiet` returns what it prints.

    Raises StepFailed when it fails.
    """
    # Ctrl-C reaches pulumi too, which then finishes what it is doing; ending before it does would leave its lock.
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN) if not quiet else None
    try:
        process = subprocess.Popen(
            ["pulumi", *arguments],
            cwd=PROJECT,
            env=dict(environment),
            stdout=subprocess.PIPE if quiet or without else None,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            errors="replace",
            preexec_fn=_default_interrupt,
        )
        if without is not None and process.stdout is not None:
            for line in process.stdout:
                if not without.match(line):
                    print(line, end="", flush=True)
        printed, errors = process.communicate()
    finally:
        if previous is not None:
            signal.signal(signal.SIGINT, previous)
    if process.returncode != 0:
        detail = f":\n{printed}{errors}" if quiet else f" with exit code {process.returncode}; see above"
        raise StepFailed(f"pulumi {' '.join(arguments[:2])} failed{detail}")
    return printed if quiet else ""


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
    """Destroy a stack and remove all that `up` made; keeps `.accelform/` when anything still needs it.

    It works on what `up` recorded, and installs nothing that is still there.
    """
    check_name(stack)
    state = PROJECT / STATE_FOLDER
    others: list[str] = []
    was_up = False
    if (state / "state" / ".pulumi").exists():
        environment = process_environment(made.as_made())
        if place := made.moved_from():
            say(f"this checkout was {place} when its stacks were made")
        stacks = existing_stacks(environment)
        was_up = stack in stacks
        if was_up:
            free_stale_lock(stack, environment)
            _destroy(stack, environment)
        else:
            say(f"stack {stack} is not up")
        end_orphans(PROJECT)
        others = [name for name in stacks if name != stack]
    else:
        unknown = sorted(entry.name for entry in state.iterdir() if entry.name not in WRITTEN_BY_TOOLS)
        if unknown:
            raise StepFailed(
                f"there is no Pulumi state in {STATE_FOLDER}/ any more, but {', '.join(unknown)} is in it, and a "
                f"service may still run from there. Stop what runs (pgrep -f {state}), then remove {state} by hand."
            )
        say("nothing is up")
    if not others and (running := running_below(state)):
        raise StepFailed(
            f"{STATE_FOLDER}/ stays, for programs still run in it: "
            + "; ".join(f"pid {process}, {command}" for process, command in running)
            + ". End them (kill the numbers), then run make down again."
        )
    if has_secrets(stack_file(stack)):
        say(f"{STATE_FOLDER}/passphrase stays: {stack_file(stack).relative_to(PROJECT)} holds values encrypted with it")
        if not others:
            _empty(state, keep=("passphrase", "lock"))
    else:
        drop_salt(stack_file(stack))
        if not others:
            shutil.rmtree(state)
    if others:
        say(f"{STATE_FOLDER}/ stays: it holds the stacks {', '.join(others)} (make down STACK=...)")
    if was_up:
        last_words(PROJECT, stack)


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
        color = "always" if sys.stdout.isatty() else "never"
        pulumi(environment, "destroy", "--yes", "--stack", stack, "--color", color, without=ADVICE)
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
    exit_on_sigterm()

    def step() -> None:
        with one_at_a_time():
            {"up": up, "preview": preview, "down": down}[arguments.command](arguments.stack)

    try:
        return reported(step)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
