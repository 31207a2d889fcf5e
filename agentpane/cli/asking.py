"""What a command asks a person at a terminal before it does something that they may regret."""

from __future__ import annotations

import sys

import typer

from agentpane.api.commands import ForeseeCancel
from agentpane.cli import words
from agentpane.cli.pane import Pane, line
from agentpane.domain.tasks import Task


def may_go(pane: Pane, task: Task) -> bool:
    """Ask whether a diff that waits for approval may go. False where nobody can be asked; the engine then refuses."""
    if not pane.for_people or not sys.stdin.isatty():
        return False
    going = pane.call(lambda client: client.do(ForeseeCancel(task.card.id)))
    stays = f"its commits stay on branch {line(going.branch)}" if going.branch else "no branch holds it any more"
    goes = f", and {going.ignored} file(s) or folder(s) that git ignores go" if going.ignored else ""
    question = f"The diff ({words.counts(task.card)}) is put aside; {stays}{goes}. Cancel?"
    return bool(typer.confirm(question, abort=True, err=True))
