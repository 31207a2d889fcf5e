"""What a command asks a person at a terminal before it does something that they may regret."""

from __future__ import annotations

import sys

import typer

from agentpane.cli import words
from agentpane.cli.pane import Pane
from agentpane.domain.tasks import Task


def may_go(pane: Pane, task: Task) -> bool:
    """Ask whether a diff that waits for approval may go. False where nobody can be asked; the engine then refuses."""
    if not pane.for_people or not sys.stdin.isatty():
        return False
    question = (
        f"The diff ({words.counts(task.card)}) is put aside; its branch stays, and files that git ignores go. Cancel?"
    )
    return bool(typer.confirm(question, abort=True, err=True))
