"""`db …`: the database file."""

from __future__ import annotations

from typing import Annotated

import typer

from agentpane.api.commands import BackupDatabase, CheckDatabase, RestoreDatabase
from agentpane.cli import commands
from agentpane.cli.exits import DONE, SURROUNDINGS
from agentpane.cli.pane import Pane, absolute, block

File = Annotated[str, typer.Argument(metavar="FILE", help="The backup's file.")]


def register(app: typer.Typer) -> None:
    noun = commands.group(app, "db", "The database: check, backup, restore.")
    commands.add(noun, "check", check, "db check")
    commands.add(noun, "backup", backup, "db backup ~/agentpane-monday.db")
    commands.add(noun, "restore", restore, "db restore ~/agentpane-monday.db")


def check(ctx: typer.Context) -> None:
    """Look for damage in the database."""
    pane: Pane = ctx.obj
    problems = pane.call(lambda client: client.do(CheckDatabase()))
    pane.status = SURROUNDINGS if problems else DONE
    text = "\n".join(block(each) for each in problems) or "The database is sound."
    pane.result({"ok": not problems, "problems": list(problems)}, text)


def backup(ctx: typer.Context, file: File) -> None:
    """Copy the database to a new file, consistent at one moment."""
    pane: Pane = ctx.obj
    made = pane.call(lambda client: client.do(BackupDatabase(absolute(file))))
    pane.result({"file": made}, f"Copied to {block(made)}")


def restore(ctx: typer.Context, file: File) -> None:
    """Put a backup in the database's place; what was there is kept in the backups folder."""
    pane: Pane = ctx.obj
    source = absolute(file)
    kept = pane.call(lambda client: client.do(RestoreDatabase(source)))
    pane.result({"restored": source, "kept": kept}, f"Restored. What was there is kept as {block(kept)}")
