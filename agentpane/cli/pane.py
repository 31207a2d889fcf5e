"""What every command is given: the way to the engine, and where its output goes.

Under `--json` one document goes to stdout and nothing else; under `--jsonl` a document a line. Text for people goes to
stdout when it is the result, else to stderr. What comes from repositories and models is shown with its control
characters visible.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

from agentpane.api.client import Client
from agentpane.api.launcher import connect_or_start
from agentpane.api.protocol import ClientKind
from agentpane.domain.acp_presets import is_model_variable
from agentpane.domain.gitpaths import display_path, visible_text
from agentpane.paths import DataFolder, data_folder

T = TypeVar("T")

OpenWindow = Callable[[Sequence[str]], int]


class PipeClosedError(Exception):
    """Whoever read the output has gone."""


@dataclass(slots=True)
class Pane:
    """One command's surroundings. `status` is what it will exit with; `said`: something is on stdout."""

    name: str
    as_json: bool = False
    as_lines: bool = False
    open_window: OpenWindow | None = None
    status: int = 0
    said: bool = False

    @property
    def folder(self) -> DataFolder:
        return data_folder()

    @property
    def for_people(self) -> bool:
        return not (self.as_json or self.as_lines)

    def call(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do `work` with a client of the engine, which is started if none runs."""

        async def connected() -> T:
            client = await self.connect()
            try:
                return await work(client)
            finally:
                await client.close()

        return asyncio.run(connected())

    async def connect(self) -> Client:
        return await connect_or_start(self.folder, ClientKind.COMMAND, self.name)

    def result(self, document: Any, text: str) -> None:
        """Print the command's result: the document for scripts, the text for people."""
        if self.for_people:
            self.say(text)
        else:
            self.document(document)

    def document(self, value: Any) -> None:
        self.say(json.dumps(value, ensure_ascii=True))

    def say(self, text: str) -> None:
        self.said = True
        try:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            raise PipeClosedError from error

    def raw(self, data: bytes) -> None:
        """Print bytes as they are."""
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError as error:
            raise PipeClosedError from error

    def note(self, text: str) -> None:
        """Progress, and everything else that is not the result."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def model_environment() -> dict[str, str]:
    """The client's own variables about models and their keys, which go with a request that may start a run."""
    return {name: value for name, value in os.environ.items() if is_model_variable(name)}


def project_ref(text: str) -> str:
    """A project by its id, name or path; a path is made absolute, since the engine has another working folder."""
    looks_like_path = os.sep in text or text in {".", "..", "~"}
    return os.path.realpath(os.path.expanduser(text)) if looks_like_path else text


def absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


# Words for people


def line(text: str) -> str:
    """Foreign text on one line, nothing hidden in it."""
    return visible_text(" ".join(text.split()))


def block(text: str) -> str:
    """Foreign text of several lines, nothing hidden in it."""
    return visible_text(text)


def table(rows: Iterable[Sequence[object]], headings: Sequence[str] = ()) -> str:
    """Columns of plain text, the last one as long as it is; empty when there are no rows. A path is whole."""
    cells = [[_cell(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    shown = [list(headings), *cells] if headings else cells
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    if headings:
        lines[0] = bold(lines[0])
    return "\n".join(lines)


def _cell(value: object) -> str:
    return display_path(str(value)) if isinstance(value, PurePath) else line(str(value))


def pairs(values: Mapping[str, object]) -> str:
    """Names and values below each other; what is None or empty is left out."""
    return table((f"{name}:", value) for name, value in values.items() if value not in (None, "", ()))


def bold(text: str) -> str:
    return _styled(text, "1", sys.stdout)


def dim(text: str) -> str:
    return _styled(text, "2", sys.stderr)


def _styled(text: str, style: str, stream: Any) -> str:
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{style}m{text}\x1b[0m"
