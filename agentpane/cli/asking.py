"""What a command asks a person at a terminal before something that they may regret, and what it says afterwards."""

from __future__ import annotations

import sys

import typer

from agentpane.api.cancelling import foresee
from agentpane.cli import words
from agentpane.cli.pane import Pane, line
from agentpane.domain.gitpaths import display_path
from agentpane.domain.keeping import Going
from agentpane.domain.tasks import Task


def may_go(pane: Pane, task: Task) -> bool:
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
    return said
