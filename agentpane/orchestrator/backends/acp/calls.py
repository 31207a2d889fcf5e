"""A tool call as the program tells of it, piece by piece, and what the policy is asked about it."""

from __future__ import annotations

import difflib
import hashlib
import json
import os.path
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agentpane.domain.json import JsonObject
from agentpane.domain.policy import EXIT_PLAN, Effect, Use
from agentpane.orchestrator.backends.base import ToolCall
from agentpane.orchestrator.tools import ToolResult

NAMES: Mapping[str, str] = {
    "read": "Read",
    "edit": "Edit",
    "delete": "Delete",
    "move": "Move",
    "search": "Grep",
    "execute": "Bash",
    "think": "Think",
    "fetch": "WebFetch",
    "switch_mode": EXIT_PLAN,
    "ask": "AskUser",
    "other": "Other",
}
EFFECTS: Mapping[str, Effect] = {
    "read": Effect.READ,
    "search": Effect.READ,
    "think": Effect.READ,
    "edit": Effect.WRITE,
    "delete": Effect.WRITE,
    "move": Effect.WRITE,
    "execute": Effect.EXECUTE,
    "fetch": Effect.FETCH,
}
SILENT_END = "The agent ended its turn without saying how this call came out."
DETAIL = 100_000  # characters that a person is shown of one question
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a variable
_COMPOUND = re.compile(r"[;|&\n(){}<>`]")
MAX_RESULT = 30_000  # characters of a result that are kept


@dataclass(slots=True)
class AgentCall:
    """What is known of one call so far. turn: in which it was announced; its id is unique in the session by it."""

    turn: int
    own_id: str
    kind: str = "other"
    title: str = ""
    raw_input: Any = None
    raw_output: Any = None
    paths: tuple[str, ...] = ()
    diffs: tuple[tuple[str, str, str], ...] = ()  # path, old text, new text
    text: str = ""
    shown: str = ""  # what of the text has been shown as output
    started_at: float | None = None
    finished: bool = False
    reported: JsonObject = field(default_factory=dict)  # the input as it was announced
    times_asked: int = 0

    @property
    def id(self) -> str:
        return f"{re.sub(r'[^a-zA-Z0-9_-]', '_', self.own_id)[:80]}_{self.turn}"

    @property
    def name(self) -> str:
        return NAMES.get(self.kind, "Other")

    @property
    def mutates(self) -> bool:
        return EFFECTS.get(self.kind, Effect.OTHER) is not Effect.READ

    def merge(self, update: Any) -> None:
        """Take in what an update says; what it leaves out stays."""
        self.kind = update.kind or self.kind
        self.title = update.title or self.title
        self.raw_input = update.raw_input if update.raw_input is not None else self.raw_input
        self.raw_output = update.raw_output if update.raw_output is not None else self.raw_output
        if update.locations:
            self.paths = tuple(location.path for location in update.locations)
        if update.content is not None:
            self.diffs = tuple((part.path, part.old_text or "", part.new_text) for part in _of(update.content, "diff"))
            texts = [part.content for part in _of(update.content, "content")]
            self.text = "\n".join(text.text for text in texts if text.type == "text") or self.text

    def as_call(self) -> ToolCall:
        return ToolCall(self.id, self.name, self.reported or self.input())

    def to_ask(self, command: str | None) -> ToolCall:
        """As a person is asked about it: each question about a call has a name of its own.

        What its input alone does not say is in there as a digest, so that no answer is taken for that to another.
        """
        given = self.input()
        if self.diffs or command not in (None, *given.values()):
            told = json.dumps([command, self.diffs]).encode()
            given = {**given, "sha256": hashlib.sha256(told).hexdigest()}
        self.times_asked += 1
        name = self.id if self.times_asked == 1 else f"{self.id}_{self.times_asked}"
        return ToolCall(name, self.name, given)

    def makes(self, worktree: Path, path: str, present: str, content: str) -> bool:
        """Whether a file that gets this content becomes what the call's diffs show, if they show anything of it."""
        shown = [(old, new) for named, old, new in self.diffs if within(worktree, named) == path]
        edited = present
        for old, new in shown:
            edited = edited.replace(old, new, 1) if old else new
        return not shown or edited == content or (len(shown) == 1 and shown[0][1] == content)

    def input(self) -> JsonObject:
        given: JsonObject = self.raw_input if isinstance(self.raw_input, Mapping) else {}
        more: dict[str, Any] = {} if isinstance(self.raw_input, Mapping | None) else {"input": self.raw_input}
        if self.title and self.title not in (self.command(), *given.values()):
            more["title"] = self.title
        if self.paths and not any(path in given.values() for path in self.paths):
            more["paths"] = list(self.paths)
        return {**given, **more}

    def command(self) -> str | None:
        """The command line of a call that executes one."""
        if self.kind != "execute":
            return None
        given = self.raw_input
        if isinstance(given, Mapping):
            for name in ("command", "cmd", "script"):
                value = given.get(name)
                if isinstance(value, str) and value:
                    return value
                if isinstance(value, Sequence) and value and not isinstance(value, str):
                    return _command_line([str(word) for word in value])
        return self.title.strip("`") or None

    def script(self, worktree: Path) -> str | None:
        """The command line, with the folder and the variables that the call names for it."""
        bare, given = self.command(), self.raw_input
        if bare is None or not isinstance(given, Mapping):
            return bare
        named = next((given[name] for name in ("cwd", "workdir") if isinstance(given.get(name), str)), None)
        return placed(bare, within(worktree, named) if named else ".", _variables(given.get("env")))

    def path(self, worktree: Path) -> str | None:
        named = self.paths or tuple(path for path, _, _ in self.diffs)
        if not named and isinstance(self.raw_input, Mapping):
            found = (self.raw_input.get(name) for name in ("file_path", "filePath", "path", "abs_path", "filename"))
            named = tuple(path for path in found if isinstance(path, str))
        return within(worktree, named[0]) if named else None

    def use(self, worktree: Path) -> Use:
        effect = EFFECTS.get(self.kind, Effect.OTHER)
        url = self.raw_input.get("url") if isinstance(self.raw_input, Mapping) else None
        host = urlsplit(url).hostname if isinstance(url, str) else None
        return Use(self.name, effect, self.path(worktree), self.script(worktree), host)

    def uses(self, worktree: Path) -> tuple[Use, ...]:
        """One for each file that it names: a call that touches several is allowed only if each of them is."""
        first = self.use(worktree)
        named = dict.fromkeys((*self.paths, *(path for path, _, _ in self.diffs)))
        paths = dict.fromkeys(within(worktree, path) for path in named)
        if len(paths) < 2:
            return (first,)
        return tuple(Use(first.tool, first.effect, path, first.command, first.host) for path in paths)

    def summary(self, worktree: Path) -> str:
        line = self.script(worktree) or self.path(worktree) or self.title or self.name
        return " ".join(line.split())[:200]

    def detail(self, worktree: Path, command: str | None = None) -> str:
        """The whole command (the call's own unless given), the diff or the plan; of too much, how much is hidden."""
        if self.kind == "switch_mode" and isinstance(self.raw_input, Mapping) and "plan" in self.raw_input:
            return shown(str(self.raw_input["plan"]))
        parts = [
            "".join(difflib.unified_diff(_lines(old), _lines(new), f"a/{path}", f"b/{path}"))
            for path, old, new in ((within(worktree, named), old, new) for named, old, new in self.diffs)
        ]
        command = command or self.script(worktree)
        whole = "\n".join([*([command] if command else []), *parts])
        return shown(whole or json.dumps(self.input(), indent=2, ensure_ascii=False))

    def fresh_output(self) -> str:
        """What of the text has not been shown yet."""
        new = self.text.removeprefix(self.shown)
        self.shown = self.text
        return new

    def result(self, failed: bool) -> ToolResult:
        text = self.text
        if not text and self.raw_output is not None:
            text = self.raw_output if isinstance(self.raw_output, str) else json.dumps(self.raw_output, default=str)
        if len(text) > MAX_RESULT:
            half = MAX_RESULT // 2
            text = f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
        changed: JsonObject = {"paths": [path for path, _, _ in self.diffs]} if self.diffs else {}
        return ToolResult(text or ("failed" if failed else "done"), failed, "failed" if failed else "done", changed)


def shown(text: str) -> str:
    """As much as a person is shown, and how much is not."""
    return text if len(text) <= DETAIL else f"{text[:DETAIL]}\n[… {len(text) - DETAIL:,} characters more]"


def placed(script: str, folder: str, variables: Mapping[str, str]) -> str:
    """The command with its folder (“.” is the worktree) and variables in so many words, as it is judged and shown."""
    given = " ".join(f"{shlex.quote(name)}={shlex.quote(value)}" for name, value in variables.items())
    if given:
        simple = _COMPOUND.search(script) is None and all(NAME.fullmatch(name) for name in variables)
        script = f"{given} {script}" if simple else f"export {given} && {script}"
    if folder == ".":
        return script
    return f"cd {shlex.quote(f'./{folder}' if folder.startswith('-') else folder)} && {script}"


def within(worktree: Path, path: str) -> str:
    """The path relative to the worktree where it lies inside, absolute otherwise."""
    absolute = os.path.normpath(os.path.join(worktree, path.removeprefix("file://")))
    for root in dict.fromkeys((os.path.normpath(worktree), os.path.realpath(worktree))):
        if absolute == root or absolute.startswith(root + "/"):
            return absolute[len(root) + 1 :] or "."
    return absolute


def _variables(given: Any) -> Mapping[str, str]:
    """Those that a call's input names, as an object or as a list of names and values."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        pairs = [one for one in given if isinstance(one, Mapping)]
        given = {str(one.get("name")): one.get("value") for one in pairs}
    return {str(name): str(value) for name, value in given.items()} if isinstance(given, Mapping) else {}


def _of(content: Sequence[Any], kind: str) -> list[Any]:
    return [part for part in content if part.type == kind]


def _lines(text: str) -> list[str]:
    return [line if line.endswith("\n") else line + "\n" for line in text.splitlines(keepends=True)]


def _command_line(words: Sequence[str]) -> str:
    """The words as a shell would read them; what a shell is handed with -c is the line itself."""
    if len(words) == 3 and words[0].rpartition("/")[2] in ("sh", "bash", "zsh") and words[1] in ("-c", "-lc"):
        return words[2]
    return shlex.join(words)
