"""How a noun's module puts its commands on the command line: each with one line of help and examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

ALSO = "--json prints one JSON document on stdout, errors included."
ALSO_LINES = f"{ALSO} --jsonl prints the events, a line each."


def add(app: typer.Typer, name: str, function: Callable[..., None], *examples: str, lines: bool = False) -> None:
    """Put `function` on `app` as the command `name`."""
    shown = "".join(f"\n  agentpane {example}" for example in examples)
    also = ALSO_LINES if lines else ALSO
    app.command(name, epilog=f"\b\nExamples:{shown}\n\n{also}")(function)


def group(app: typer.Typer, name: str, about: str) -> typer.Typer:
    """A noun with commands of its own."""
    noun = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode=None)
    app.add_typer(noun, name=name)
    return noun


def pane_of(context: typer.Context) -> Any:
    """The surroundings that `app.main` made."""
    return context.obj
