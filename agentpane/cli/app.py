"""The command line: finds the noun, loads its module alone, and turns every ending into output and an exit status."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import typer

from agentpane import __version__
from agentpane.cli import shapes, words
from agentpane.cli.exits import DETACHED, DONE, EXIT_STATUS, PIPE_CLOSED
from agentpane.cli.pane import OpenWindow, Pane, PipeClosedError
from agentpane.errors import AgentPaneError, ErrorCode

# The module under agentpane.cli that each first word of a command line lives in.
HOMES: Mapping[str, str] = {
    "demo": "demo",
    "project": "project",
    "agent": "agent",
    "mcp": "mcp",
    "task": "task",
    "run": "run",
    "answer": "run",
    "resume": "run",
    "cancel": "run",
    "approvals": "approvals",
    "allow": "approvals",
    "deny": "approvals",
    "diff": "review",
    "approve": "review",
    "reject": "review",
    "check": "check",
    "undo": "review",
    "resolve": "resolve",
    "session": "session",
    "audit": "audit",
    "recovery": "recovery",
    "costs": "costs",
    "budget": "budget",
    "doctor": "doctor",
    "worktree": "worktree",
    "db": "db",
    "engine": "engine",
}
STREAMING = frozenset({"run", "resume", "answer"})

ABOUT = """AgentPane: a board for one developer and many coding agents.

Without a command it opens the window. The commands below do the same work from a terminal or a script."""

EPILOG = """\b
agentpane            opens the window (--new-window: another one)
agentpane engine     runs the engine in the foreground
agentpane serve      runs the engine and keeps it, client or not

\b
Try it:  agentpane demo --headless
A task:  agentpane project add .
         agentpane task add NAME "Fix the flaky test"
         agentpane run TASK && agentpane diff TASK --patch
         agentpane approve TASK

\b
Every command takes --json: one JSON document on stdout, errors included. run, resume, answer and session show
take --jsonl too: the events, a line each. Ids may be shortened to a unique beginning; a project may be named by
its path. AGENTPANE_HOME names the data folder.
Exit status: 0 done, 2 usage, 3 refused or not found, 4 the agent failed, paused or changed nothing, 5 conflict,
6 engine, database, disk or git, 1 an error in AgentPane, 130 detached by Ctrl-C."""


def main(arguments: Sequence[str], open_window: OpenWindow | None = None) -> int:
    """Carry out a command line. Returns its exit status; never raises.

    open_window: opens the window, for the commands that end in one.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what cannot be shown is shown as an escape
    rest, flags = _take_flags(arguments)
    name = "agentpane " + " ".join(rest[:2])
    pane = Pane(name, "--json" in flags, "--jsonl" in flags, open_window)
    try:
        return _guarded(lambda: _carry_out(rest, pane), pane)
    except PipeClosedError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains at its end
        return PIPE_CLOSED


def build(homes: Sequence[str]) -> typer.Typer:
    """The command line with the commands of these modules."""
    app = typer.Typer(
        name="agentpane",
        help=ABOUT,
        epilog=EPILOG,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_top)
    for home in homes:
        importlib.import_module(f"agentpane.cli.{home}").register(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"agentpane {__version__}\n")
        raise typer.Exit


def _top(
    version: bool = typer.Option(
        False, "--version", help="Show the version and end.", is_eager=True, callback=_show_version
    ),
) -> None:
    """What stands before any command."""


def _carry_out(rest: Sequence[str], pane: Pane) -> int:
    if pane.as_json and pane.as_lines:
        raise _usage("Give --json or --jsonl, not both.")
    if pane.as_lines and rest[:1] and rest[0] not in STREAMING and list(rest[:2]) != ["session", "show"]:
        raise _usage("--jsonl is for run, resume, answer and session show.")
    if pane.as_json and "--version" in rest:
        pane.document({"version": __version__})
        return DONE
    first = next((word for word in rest if not word.startswith("-")), "")
    homes = (HOMES[first],) if first in HOMES else tuple(dict.fromkeys(HOMES.values()))
    status = build(homes)(list(rest), prog_name="agentpane", standalone_mode=False, obj=pane)
    return status if isinstance(status, int) and status else pane.status


def _guarded(work: Callable[[], int], pane: Pane) -> int:
    try:
        status = work()
        return _interrupted(pane) if status == DETACHED else status  # which is how typer tells of Ctrl-C
    except AgentPaneError as error:
        return _fail(error, pane)
    except typer.Abort:
        return _fail(_usage("Not confirmed; nothing has changed."), pane)
    except typer.TyperException as error:
        return _fail(_usage(error.format_message(), _usage_of(error)), pane)
    except KeyboardInterrupt:
        return _interrupted(pane)
    except PipeClosedError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it is our bug and becomes INTERNAL
        pane.note(traceback.format_exc().rstrip())
        return _fail(_our_bug(error), pane)


def _interrupted(pane: Pane) -> int:
    if pane.as_json and not pane.said:
        pane.document({"interrupted": True})
    return DETACHED


def _fail(error: AgentPaneError, pane: Pane) -> int:
    """Say what went wrong, once, where it belongs."""
    if not pane.for_people:
        pane.document(shapes.error(error))
    pane.note(words.problem(error))
    return EXIT_STATUS[error.code]


def _take_flags(arguments: Sequence[str]) -> tuple[list[str], set[str]]:
    """Take --json and --jsonl out, wherever they stand before a bare `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    flags = {word for word in arguments[:end] if word in {"--json", "--jsonl"}}
    return [word for word in arguments[:end] if word not in flags] + list(arguments[end:]), flags


def _usage(message: str, hint: str = "") -> AgentPaneError:
    return AgentPaneError(ErrorCode.VALIDATION_ERROR, message, hint or "agentpane --help shows what there is.")


def _usage_of(error: Any) -> str:
    """How the command is meant to be called, when the error knows it."""
    context = getattr(error, "ctx", None)
    return f"{context.get_usage()}\n{context.command_path} --help shows more." if context is not None else ""


def _our_bug(error: Exception) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.INTERNAL,
        f"An error in AgentPane: {type(error).__name__}: {error}",
        "Nothing that was stored is lost. The lines above tell where it happened.",
        {"type": type(error).__name__},
    )
