"""What a command asks a person at a terminal before something that they may regret, and what it says afterwards."""

from __future__ import annotations

import sys

import typer

from agentpane.api.cancelling import foresee
from agentpane.api.commands import PutBack
from agentpane.cli import shapes, words
from agentpane.cli.pane import Pane, line
from agentpane.domain.board import Column
from agentpane.domain.gitpaths import display_path
from agentpane.domain.keeping import Going
from agentpane.domain.tasks import Task


def put_back(pane: Pane, task: Task, yes: bool, position: int | None = None) -> None:
    """Put a card in the backlog, after a question where a diff waits for approval, and say what became of it."""
    confirmed = yes or (task.card.column is Column.WAITING_APPROVAL and _may_go(pane, task))
    done = pane.call(lambda client: client.do(PutBack(task.card.id, confirmed, position)))
    said = {
        "recovery": done.kept.id if done.kept else None,
        "branch_kept": done.going.branch,
        "branch_known": done.going.branch_known,  # whether it could be looked which branch keeps its commits, if any
        "ignored_gone": done.going.ignored,  # null: that could not be found out
    }
    bin_ = "What it held beyond its branch is in the recovery bin: agentpane recovery restore"
    kept = [] if done.kept is None else [f"{bin_} {done.kept.id}"]
    pane.result({**shapes.task(done.task), **said}, "\n".join([words.task(done.task), *kept, *told(done.going)]))


def _may_go(pane: Pane, task: Task) -> bool:
    """Ask whether a diff that waits for approval may go. False where nobody can be asked; the engine then refuses."""
    if not pane.for_people or not sys.stdin.isatty():
        return False
    going = pane.call(lambda client: foresee(client, task.card.id))
    return bool(typer.confirm(question(words.counts(task.card), going), abort=True, err=True))


def question(counts: str, going: Going) -> str:
    """Whether a diff of this size may go, and what becomes of the rest."""
    stays = "no branch holds it any more"
    if not going.branch_known:
        stays = "AgentPane cannot look whether a branch holds its commits"
    elif going.branch is not None:
        stays = f"its commits stay on branch {line(going.branch)}"
    goes = f", and {going.ignored} file(s) or folder(s) that git ignores go" if going.ignored else ""
    if going.ignored is None:
        goes = ", and what git ignores in its worktree may go"
    return f"The diff ({counts}) is put aside; {stays}{goes}. Cancel?"


def told(going: Going) -> list[str]:
    """What has become of the branch of a card that was stopped, and of the files in its worktree."""
    said: list[str] = []
    if going.branch is not None:
        said.append(f"Its commits stay on branch {line(going.branch)}; the next run begins another.")
    if going.ignored:
        more = going.ignored - len(going.some)
        names = ", ".join(map(display_path, going.some)) + (f" and {more} more" if more else "")
        said.append(f"What git ignores went with the worktree: {names}.")
    elif going.ignored is None:
        said.append("What git ignored there, if anything, went with the worktree: AgentPane could not look.")
    return said
