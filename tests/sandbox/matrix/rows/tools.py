"""The file tools, which the engine runs itself: paths, links and races that lead out of the worktree or into `.git`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from ..attempt import Guarantee
from ..commands import Ran, altered, leaked
from ..scene import Entry, Scene
from ..tools import ToolCall, Waiting, flipping


def _linked(*links: tuple[str, str]) -> Callable[[Scene], object]:
    """Links in the worktree, as (name, target)."""

    def lay(scene: Scene) -> None:
        for name, target in links:
            (scene.worktree / name).symlink_to(scene.filled(target))

    return lay


def _folder(scene: Scene) -> None:
    (scene.worktree / "x").mkdir()


def _hard(scene: Scene) -> None:
    os.link(scene.out / "secret.txt", scene.worktree / "hard")


def _content_altered(scene: Scene, ran: Ran, before: Mapping[str, Entry]) -> bool:
    """The file outside has another content; that it has lost a link is the worktree's own affair."""
    return scene.secret.encode() not in (scene.out / "secret.txt").read_bytes() or b"theirs" in (
        (scene.out / "secret.txt").read_bytes()
    )


FILE = _linked(("link", "@out@/secret.txt"))
FOLDER = _linked(("link", "@out@"))
CHAIN = _linked(("link", "one"), ("one", "two"), ("two", "../../../out"))
MAGIC = _linked(("link", "/proc/self/root"))
GIT = _linked(("link", "@common@"))

READING = Guarantee(
    "file tools: reading",
    "Read, Glob and Grep show nothing that lies outside the worktree",
    (
        ToolCall("Read an absolute path", "Read", "@out@/secret.txt", leaked),
        ToolCall("Read a path that climbs", "Read", "../../../out/secret.txt", leaked),
        ToolCall("Read a path that goes in and climbs out", "Read", "x/../../../../out/secret.txt", leaked, _folder),
        ToolCall("Read a neighbour whose name begins alike", "Read", "@worktree@/../two/notes.txt", leaked),
        ToolCall("Read the root of a process", "Read", "/proc/self/root@out@/secret.txt", leaked),
        ToolCall("Read the environment of a process", "Read", "/proc/@victim@/environ", leaked),
        ToolCall("Read through a link to a file", "Read", "link", leaked, FILE),
        ToolCall("Read through a link to a folder", "Read", "link/secret.txt", leaked, FOLDER),
        ToolCall("Read through a chain of links", "Read", "link/secret.txt", leaked, CHAIN),
        ToolCall("Read through a magic link", "Read", "link@out@/secret.txt", leaked, MAGIC),
        ToolCall("Read through a link flipped during the call", "Read", "link/secret.txt", leaked, None, flipping, 100),
        ToolCall("Glob an absolute pattern", "Glob", "@out@/names/*", leaked),
        ToolCall("Glob a pattern that climbs", "Glob", "../../../out/names/*", leaked),
        ToolCall("Glob through a link", "Glob", "link/names/*", leaked, FOLDER),
        ToolCall("Grep an absolute path", "Grep", "@out@", leaked),
        ToolCall("Grep a path that climbs", "Grep", "../../../out", leaked),
        ToolCall("Grep through a link to a file", "Grep", "link", leaked, FILE),
        ToolCall("Grep through a link to a folder", "Grep", "link/", leaked, FOLDER),
        ToolCall("Grep through a link flipped during the call", "Grep", "link/", leaked, None, flipping, 8),
    ),
)

WRITING = Guarantee(
    "file tools: writing",
    "Write, Edit and MultiEdit change nothing outside the worktree and nothing of git's",
    (
        ToolCall("Write to an absolute path", "Write", "@out@/secret.txt", altered),
        ToolCall("Write a new file by climbing", "Write", "../../../out/new", altered),
        ToolCall("Write new folders by climbing", "Write", "../new/deep/file", altered),
        ToolCall("Write through a link to a file", "Write", "link", altered, FILE),
        ToolCall("Write through a link to a folder", "Write", "link/new", altered, FOLDER),
        ToolCall("Write through a chain of links", "Write", "link/new", altered, CHAIN),
        ToolCall("Write through a dangling link", "Write", "link", altered, _linked(("link", "@out@/new"))),
        ToolCall("Write through a magic link", "Write", "link@out@/new", altered, MAGIC),
        ToolCall("Write through a link flipped during the call", "Write", "link/new", altered, None, flipping, 100),
        ToolCall("Write through a hard link", "Write", "hard", _content_altered, _hard),
        ToolCall("Write into another run's worktree", "Write", "../two/file.txt", altered),
        ToolCall("Write into the main checkout", "Write", "../../file.txt", altered),
        ToolCall("Write the worktree's .git", "Write", ".git", altered),
        ToolCall("Write .git by another way to it", "Write", "x/../.git", altered, _folder),
        ToolCall("Write a hook through a link", "Write", "link/hooks/pre-commit", altered, GIT),
        ToolCall("Write the configuration through a link", "Write", "link/config", altered, GIT),
        ToolCall("Edit an absolute path", "Edit", "@out@/secret.txt", altered),
        ToolCall("Edit by climbing", "Edit", "../../../out/secret.txt", altered),
        ToolCall("Edit through a link", "Edit", "link", altered, FILE),
        ToolCall("Edit through a hard link", "Edit", "hard", _content_altered, _hard),
        ToolCall("Edit through a linked folder", "MultiEdit", "link/secret.txt", altered, FOLDER),
        ToolCall("Edit several places at an absolute path", "MultiEdit", "@out@/secret.txt", altered),
    ),
)

WAITING = Guarantee(
    "file tools: FIFOs",
    "A FIFO in a file's place holds up no tool",
    (Waiting("Read a FIFO", "Read"), Waiting("Write a FIFO", "Write"), Waiting("Edit a FIFO", "Edit")),
)

GUARANTEES = (READING, WRITING, WAITING)
