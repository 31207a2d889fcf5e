"""Row 13: a task of ten turns: the time and memory of the program itself, beside other programs at the same task.

Each starts cold, works in a repository of its own against the same model, which answers at once, writes nine lines with
its shell tool and calls itself done. Ours is `agentpane run` with the engine that it starts, the worktree, the snapshot
and everything stored. The others are mini-swe-agent and the Claude Code CLI, which know none of these; they are
installed into folders of their own in the temporary folder, and left out, loudly, where they cannot be. Time is from
the start to the end of the program that was started; memory is the highest sum of what all its processes hold by
themselves.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.harness import LEAST_ROUNDS, Figure, at_most, figure, scratch_folder
from benchmarks.model_server import MODEL, TURNS, model_server

TASK = "Write nine lines into notes.txt, one at a time."
OTHERS = Path(tempfile.gettempdir()) / "agentpane-bench-others"
LONGEST_S = 120
BECOME_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: an engine that lets go of its starter stays among our descendants
Figures = tuple[float, float]  # seconds, MiB


@dataclass(frozen=True, slots=True)
class Contestant:
    """prepare: makes what the command needs in an empty folder; it is not measured. notes: finds what was written."""

    name: str
    prepare: Callable[[Path, str], tuple[Sequence[str], Path, Mapping[str, str]]]  # command, folder, environment
    notes: Callable[[Path], str]
    clear_up: Callable[[Path, Mapping[str, str]], None] = lambda folder, environment: None


def run() -> list[Figure]:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(BECOME_SUBREAPER, 1, 0, 0, 0)
    others = [one for one in (_mini(), _claude()) if one is not None]
    measured: dict[str, list[Figures]] = {}
    with scratch_folder() as folder, model_server() as address:
        for number in range(LEAST_ROUNDS + 1):
            for one in [OURS, *others][:: -1 if number % 2 else 1]:
                place = folder / f"{one.name}-{number}"
                place.mkdir()
                measured.setdefault(one.name, []).append(_measure(one, place, address))
                shutil.rmtree(place, ignore_errors=True)
    found = []
    for one in others:
        for at, (what, unit) in enumerate((("time", "s"), ("memory", "MiB"))):
            ours, floor = ([figures[at] for figures in measured[name][1:]] for name in (OURS.name, one.name))
            found.append(figure(f"{TURNS} turns, {what} / {one.name}", ours, floor, at_most(1.0), unit))
    return found


def _measure(one: Contestant, folder: Path, address: str) -> Figures:
    repository = folder / "repository"
    repository.mkdir()
    for arguments in (("init", "-q", "-b", "main"), ("commit", "-q", "--allow-empty", "-m", "first")):
        author = ("-c", "user.name=Bench", "-c", "user.email=bench@example.invalid")
        subprocess.run(["git", *author, *arguments], cwd=repository, check=True)
    command, cwd, environment = one.prepare(folder, address)
    log = folder / "log.txt"
    peak = 0
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        ended = threading.Event()
        took: list[float] = []

        def wait() -> None:
            process.wait()
            took.append(time.perf_counter() - began)
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        while not ended.wait(0.1):
            peak = max(peak, _held())
            if time.perf_counter() - began > LONGEST_S:
                process.kill()
    lines = one.notes(folder)
    one.clear_up(folder, environment)
    if process.returncode != 0 or lines.count("line ") != TURNS - 1:
        raise RuntimeError(f"{one.name} did not do the task: {log.read_text(errors='replace')[-2_000:]}")
    return took[0], peak / 2**20


def _held() -> int:
    """Bytes that our descendants hold by themselves, the model's server aside."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "benchmarks.model_server" not in process.cmdline():
                total += process.memory_full_info().uss
    return total


def _bare(folder: Path, **more: str) -> dict[str, str]:
    """An environment without anything of ours, and with a home that is empty."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TERM": "dumb", **more}


# Ours


def _prepare_ours(folder: Path, address: str) -> tuple[Sequence[str], Path, Mapping[str, str]]:
    environment = _bare(
        folder, AGENTPANE_HOME=str(folder / "data"), ANTHROPIC_BASE_URL=address, ANTHROPIC_API_KEY="bench"
    )
    environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    _agentpane(environment, "project", "add", str(folder / "repository"), "--name", "bench")
    _agentpane(environment, "agent", "add", "bench", "bench", "--backend", "anthropic", "--model", MODEL, "--default")
    task = json.loads(_agentpane(environment, "task", "add", "bench", TASK, "--json"))["id"]
    _agentpane(environment, "engine", "stop")
    command = [sys.executable, "-m", "agentpane", "run", task, "--policy", "free", "--json"]
    return command, folder, environment


def _agentpane(environment: Mapping[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "agentpane", *arguments]
    return subprocess.run(command, env=dict(environment), check=True, capture_output=True, text=True).stdout


def _notes_of_ours(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("notes.txt"))


def _stop_ours(folder: Path, environment: Mapping[str, str]) -> None:
    _agentpane(environment, "engine", "stop", "--now")


OURS = Contestant("agentpane", _prepare_ours, _notes_of_ours, _stop_ours)


# The others


def _notes_beside(folder: Path) -> str:
    notes = folder / "repository" / "notes.txt"
    return notes.read_text() if notes.exists() else ""


def _mini() -> Contestant | None:
    python = _installed("mini-swe-agent", "mcp")  # its litellm imports mcp, and does not say so
    if python is None:
        return None
    program = python.parent / "mini"

    def prepare(folder: Path, address: str) -> tuple[Sequence[str], Path, Mapping[str, str]]:
        environment = _bare(
            folder,
            OPENAI_API_KEY="bench",
            OPENAI_API_BASE=f"{address}/v1",
            MSWEA_GLOBAL_CONFIG_DIR=str(folder),
            MSWEA_CONFIGURED="true",
            MSWEA_SILENT_STARTUP="1",
            MSWEA_COST_TRACKING="ignore_errors",
            LITELLM_LOCAL_MODEL_COST_MAP="True",
        )
        options = ["-m", "openai/bench", "-y", "--exit-immediately", "-l", "0", "-o", str(folder / "trajectory.json")]
        return [str(program), "-t", TASK, *options], folder / "repository", environment

    return Contestant("mini-swe-agent", prepare, _notes_beside)


def _claude() -> Contestant | None:
    program = _claude_program()
    if program is None:
        return None

    def prepare(folder: Path, address: str) -> tuple[Sequence[str], Path, Mapping[str, str]]:
        environment = _bare(
            folder,
            CLAUDE_CONFIG_DIR=str(folder / "claude"),
            ANTHROPIC_BASE_URL=address,
            ANTHROPIC_API_KEY="bench",
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
            DISABLE_TELEMETRY="1",
            CLAUDE_CODE_MAX_RETRIES="1",
        )
        options = ["--output-format", "stream-json", "--verbose", "--allowedTools", "Bash", "--model", MODEL]
        return [program, "-p", TASK, *options], folder / "repository", environment

    return Contestant("Claude Code CLI", prepare, _notes_beside)


def _claude_program() -> str | None:
    """The one on PATH, else the one that its SDK brings."""
    on_path = shutil.which("claude")
    if on_path is not None:
        return on_path
    python = _installed("claude-agent-sdk")
    if python is None:
        return None
    ask = "import claude_agent_sdk; print(claude_agent_sdk.__file__)"
    found = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    program = Path(found).parent / "_bundled" / "claude"
    if program.exists():
        return str(program)
    _say("the SDK of the Claude Code CLI brings no program for this machine: LEFT OUT")
    return None


def _installed(package: str, *more: str) -> Path | None:
    """The Python of a folder that holds these packages, installed if need be; None, and said so, if it cannot be."""
    folder = OTHERS / package
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    _say(f"installing {package} into {folder}")
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package, *more]
        subprocess.run(install, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        _say(f"{package} cannot be installed, so it is LEFT OUT: {why[-1] if why else error}")
        return None
    (folder / "ready").touch()
    return python


def _say(words: str) -> None:
    print(f"bench: {words}", file=sys.stderr, flush=True)
