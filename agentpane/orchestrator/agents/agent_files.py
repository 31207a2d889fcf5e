"""Agents as Markdown files with front matter: read and checked. A file that is wrong is told of and stops no other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from agentpane.domain import agent_files
from agentpane.domain.agent_files import MOST_FILES, AgentFile
from agentpane.domain.limits import invalid
from agentpane.errors import AgentPaneError, ErrorCode

FENCE = "---"
SIZE_LIMIT = 256 * 1024  # bytes
FRONT_LIMIT = 16 * 1024  # characters


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a file is no agent."""

    path: str
    error: AgentPaneError


@dataclass(frozen=True, slots=True)
class Read:
    """What a set of files says, by path."""

    agents: tuple[AgentFile, ...] = ()
    problems: tuple[Problem, ...] = ()


def read(files: Mapping[str, bytes]) -> Read:
    """The agents of these files (path to content). Of two with the same name the one whose path is first counts."""
    agents: dict[str, AgentFile] = {}
    problems: list[Problem] = []
    for path in sorted(files):
        try:
            agent = parse(path, files[path])
            if agent.name in agents:
                raise invalid("name", f"{agents[agent.name].path} is called “{agent.name}” already.")
        except AgentPaneError as error:
            problems.append(Problem(path, named(path, error)))
        else:
            agents[agent.name] = agent
    return Read(tuple(agents.values()), tuple(problems))


def parse(path: str, content: bytes) -> AgentFile:
    """Read one file. Raises AgentPaneError with VALIDATION_ERROR naming the field."""
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise invalid("file", "It is not UTF-8 text.") from error
    lines = text.split("\n")
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if lines[0].rstrip() != FENCE or end is None:
        raise invalid("file", f"It does not begin with front matter between two lines of {FENCE}.")
    front = "\n".join(lines[1:end])
    if len(front) > FRONT_LIMIT:
        raise invalid("file", f"Its front matter has {len(front):,} characters; {FRONT_LIMIT:,} fit.")
    return agent_files.check(path, _table(front), "\n".join(lines[end + 1 :]))


def read_folder(folder: Path) -> Read:
    """The agents of the person's files. Blocks for as long as it takes to read them."""
    files: dict[str, bytes] = {}
    unreadable: list[Problem] = []
    for path in _markdown(folder)[:MOST_FILES]:
        try:
            files[str(path)] = _content(path)
        except AgentPaneError as error:
            unreadable.append(Problem(str(path), named(str(path), error)))
    found = read(files)
    return Read(found.agents, (*unreadable, *found.problems))


def signature(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes when a file of the folder does: name, size and time of change of each. Blocks for a moment."""
    found = []
    for path in _markdown(folder):
        try:
            about = path.stat()
        except OSError:
            continue
        found.append((path.name, about.st_size, about.st_mtime_ns))
    return tuple(found)


def named(path: str, error: AgentPaneError) -> AgentPaneError:
    """An error about an agent's file, with the file's name and the field at fault."""
    field = error.details.get("field")
    what = error.message if field in {None, "file"} else f"“{field}”: {error.message}"
    return AgentPaneError(
        ErrorCode.PROJECT_CONFIG_INVALID,
        f"{path} is left out. {what}",
        hint="Correct the file; the other agents are there.",
        details={"file": path, "field": field},
    )


def _markdown(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".md" and path.is_file())
    except OSError:
        return []


def _content(path: Path) -> bytes:
    """Raises AgentPaneError with VALIDATION_ERROR."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise invalid("file", f"It cannot be read: {error.strerror}.") from error
    if len(content) > SIZE_LIMIT:
        raise invalid("file", f"It has more than {SIZE_LIMIT:,} bytes.")
    return content


def _table(front: str) -> Mapping[object, object]:
    try:
        # A few lines of parts that refer to one another unfold to gigabytes.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(front, Loader=yaml.SafeLoader)):
            raise invalid("file", "Its front matter refers to other parts of itself.")
        table = yaml.safe_load(front)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 2}" if mark is not None else ""
        raise invalid("file", f"Its front matter is no YAML{where}.") from error
    if not isinstance(table, dict):
        raise invalid("file", "Its front matter has no keys.")
    return table
