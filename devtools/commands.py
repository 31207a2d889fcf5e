"""The five commands of ./dev. Each first makes sure of what it needs, then becomes the program that does the work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from devtools import environment, locking, system
from devtools.environment import ROOT
from devtools.needs import Use
from devtools.words import EXIT_USAGE, SetupError, say

USAGE = """\
usage: ./dev COMMAND [ARGUMENTS]

  run [ARGS]            open the window, or run a command: ./dev run demo --headless
  test [PYTEST ARGS]    run the tests; --long adds the long ones
  check                 ruff, mypy --strict and the import rules
  bench [ROW...]        speed, next to the floor measured in the same run: ./dev bench 7 9
  lock [UV ARGS]        make requirements.lock anew from pyproject.toml; --upgrade takes newer versions

Everything that is needed is set up first: .venv, and on Debian and Ubuntu the system's packages.
"""

TYPED = ("agentpane", "devtools", "benchmarks", "tests/conftest.py", "tests/packaging")
NO_WINDOW = {"--help", "--version", "-h"}
ONE_PROCESS = {"--pdb", "-s", "--capture=no", "--collect-only", "--co"}  # pytest options that workers would break


def main(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(USAGE, end="")
        return 0 if arguments else EXIT_USAGE
    command = COMMANDS.get(arguments[0])
    if command is None:
        say(f"there is no command {arguments[0]!r}\n{USAGE}")
        return EXIT_USAGE
    try:
        return command(list(arguments[1:]))
    except SetupError as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 130


def run(arguments: list[str]) -> int:
    uses = Use.GIT | Use.AGENTS
    if opens_window(arguments):
        require_display(os.environ)
        uses |= (Use.QT | Use.X11) if on_x11(os.environ) else Use.QT
    system.require(uses)
    # -P: the person's folder may hold a `git.py` of its own
    return _become([str(environment.ready()), "-P", "-m", "agentpane", *arguments], os.environ)


def test(arguments: list[str]) -> int:
    system.require(Use.GIT | Use.QT | Use.X11 | Use.AGENTS | Use.TESTS)
    python = environment.ready()
    os.chdir(ROOT)
    surroundings = {"QT_QPA_PLATFORM": "offscreen", **os.environ}
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)  # each worker, and each program of a test, would compile anew
    subprocess.run([python, "-m", "compileall", "-q", "-j", "0", "agentpane"], env=surroundings, check=False)
    return _become([str(python), "-m", "pytest", *workers(arguments), *arguments], surroundings)


def check(arguments: list[str]) -> int:
    """Every check runs, also after one that failed, so that one look shows all there is to mend."""
    if arguments:
        raise SetupError("check takes no arguments", EXIT_USAGE)
    folder = environment.ready().parent
    checks: Mapping[str, Sequence[str]] = {
        "ruff check": [str(folder / "ruff"), "check", "."],
        "ruff format": [str(folder / "ruff"), "format", "--check", "."],
        "mypy": [str(folder / "mypy"), *TYPED],
        "import rules": [str(folder / "lint-imports")],
    }
    failed = []
    for name, command in checks.items():
        say(name)
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        say("failed: " + ", ".join(failed))
        return 1
    say("all checks passed")
    return 0


def bench(arguments: list[str]) -> int:
    system.require(Use.GIT | Use.QT)
    os.chdir(ROOT)
    surroundings = {"QT_QPA_PLATFORM": "offscreen", **os.environ}
    return _become([str(environment.ready()), "-m", "benchmarks", *arguments], surroundings)


def lock(arguments: list[str]) -> int:
    locking.make_lock(arguments)
    return 0


COMMANDS: Mapping[str, Callable[[list[str]], int]] = {
    "run": run,
    "test": test,
    "check": check,
    "bench": bench,
    "lock": lock,
}


def opens_window(arguments: Sequence[str]) -> bool:
    """Whether `agentpane` with these arguments shows a window: with no command, and for a demo that is not headless."""
    if NO_WINDOW & set(arguments):
        return False
    words = [argument for argument in arguments if not argument.startswith("-")]
    return not words or (words[0] == "demo" and "--headless" not in arguments)


def on_x11(surroundings: Mapping[str, str]) -> bool:
    platform = surroundings.get("QT_QPA_PLATFORM")
    return platform.startswith("xcb") if platform else bool(surroundings.get("DISPLAY"))


def require_display(surroundings: Mapping[str, str], platform: str = sys.platform) -> None:
    """Say it before Qt aborts."""
    if platform == "linux" and not any(
        surroundings.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        raise SetupError(
            "there is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window can open.\n"
            "Without one: ./dev run demo --headless plays the sample project, and every command works "
            "(./dev run --help).\n"
            "Over ssh, connect with -X; or name a platform of Qt's, such as QT_QPA_PLATFORM=vnc."
        )


def workers(arguments: Sequence[str]) -> list[str]:
    """How pytest spreads the tests, unless the person said it or wants to see one process."""
    chosen = any(argument.startswith(("-n", "--numprocesses", "--dist")) for argument in arguments)
    if chosen or ONE_PROCESS & set(arguments):
        return []
    # One more than there are cores: a test that waits for another program leaves its core idle.
    return ["-n", str(max(2, os.cpu_count() or 2) + 1), "--dist", "worksteal"]


def _become(command: Sequence[str], surroundings: Mapping[str, str]) -> int:
    """Hand over this very process, so that signals and the exit status are the program's own."""
    sys.stdout.flush()
    os.execve(command[0], list(command), dict(surroundings))
