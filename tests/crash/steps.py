"""The named steps of the engine under test, seen from outside of its code, and the death at one of them.

What the engine calls to change anything (git, the database, the file system, a command in the sandbox) is replaced in
this process by the same with a name. Within a sequence each of these is a step; outside of one it is passed through.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


READING = "git that only reads"
READERS = _words(
    "rev-parse merge-base ls-files ls-tree diff-files diff-index diff-tree for-each-ref rev-list cat-file config "
    "check-ref-format check-attr show-ref diff version --version var status"
)
PRIVATE = frozenset({"scratch", "TemporaryFolder"})  # folders of the engine's own, which nobody else sees
STEP_OF_FILES = ("mkdir", "rename", "replace", "rmdir", "unlink", "symlink", "link")
LONGEST_S = 20.0


class When(StrEnum):
    """during: while git is at work, between a transaction's statements and its commit, or while a command runs.

    with_git: the same, and the git that is at work dies too.
    """

    BEFORE = "before"
    DURING = "during"
    WITH_GIT = "with git"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Point:
    """Where to die: at the `nth` occurrence of a step in a sequence. delay_s: how long into it, for DURING."""

    sequence: str
    step: str
    nth: int
    when: When
    delay_s: float = 0.0

    def told(self) -> list[Any]:
        return [self.sequence, self.step, self.nth, self.when.value, self.delay_s]

    @classmethod
    def read(cls, told: list[Any]) -> Point:
        sequence, step, nth, when, delay_s = told
        return cls(sequence, step, nth, When(when), delay_s)

    def __str__(self) -> str:
        late = f" {self.delay_s * 1000:.1f} ms in" if self.when in {When.DURING, When.WITH_GIT} else ""
        return f"{self.sequence}: {self.when} {self.step} ({self.nth}){late}"


@dataclass(slots=True)
class Watch:
    """Counts the steps of one engine, writes each down, and dies at the one that is asked for.

    orders: a file with the points, by sequence; read again whenever a sequence begins.
    """

    log: int  # a descriptor; each line is [sequence, step, when it was hit or "", seconds]
    orders: str
    points: dict[str, Point] = field(default_factory=dict)
    point: Point | None = None  # the one that is being died at
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, sequence: str) -> None:
        """A sequence begins; its steps are counted from here on."""
        self.points = {name: Point.read(told) for name, told in json.loads(Path(self.orders).read_bytes()).items()}
        with self.guard:
            for name, step in list(self.counts):
                if name == sequence:
                    del self.counts[name, step]

    def enter(self, step: str) -> When | None:
        """Count a step of the present sequence; says where in it to die, if in this one. Dies here for BEFORE."""
        sequence = SEQUENCE.get()
        if sequence is None:
            return None
        with self.guard:
            self.counts[sequence, step] += 1
            number = self.counts[sequence, step]
        self.write(sequence, step, "")
        point = self.points.get(sequence)
        if point is None or (point.step, point.nth) != (step, number):
            return None
        self.point = point
        if point.when is When.BEFORE:
            self.die()
        return point.when

    def die(self) -> None:
        """Nothing is flushed, closed or waited for."""
        assert self.point is not None
        self.write(self.point.sequence, self.point.step, self.point.when.value)
        os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait()

    def die_soon(self, begun: Callable[[], None] = lambda: None, last: Callable[[], None] = lambda: None) -> None:
        """Wait for `begun`, then for the point's delay, and die; `last` is done just before."""
        assert self.point is not None
        delay = self.point.delay_s

        def wait() -> None:
            begun()
            time.sleep(delay)
            last()
            self.die()

        threading.Thread(target=wait, daemon=True).start()

    def write(self, sequence: str, step: str, hit: str) -> None:
        os.write(self.log, json.dumps([sequence, step, hit, round(time.monotonic(), 4)]).encode() + b"\n")


SEQUENCE: ContextVar[str | None] = ContextVar("sequence", default=None)
DURING_GIT: ContextVar[When | None] = ContextVar("during_git", default=None)


def install(watch: Watch, entries: Mapping[str, str]) -> None:
    """Put names on what the engine calls. entries: the method where a sequence begins, `module:Class.method`."""
    for entry, sequence in entries.items():
        _begin(watch, entry, sequence)
    _name_git(watch)
    _name_database(watch)
    _name_files(watch)
    _name_commands(watch)


def _begin(watch: Watch, entry: str, sequence: str) -> None:
    module, _, path = entry.partition(":")
    owner, _, name = path.partition(".")
    cls = getattr(importlib.import_module(module), owner)
    inner = getattr(cls, name)

    @functools.wraps(inner)
    async def within(*args: Any, **kwargs: Any) -> Any:
        if SEQUENCE.get() is not None:
            return await inner(*args, **kwargs)
        watch.begin(sequence)
        token = SEQUENCE.set(sequence)
        try:
            return await inner(*args, **kwargs)
        finally:
            SEQUENCE.reset(token)

    setattr(cls, name, within)


def git_step(arguments: Sequence[str]) -> str:
    """The name of a call of git: its command, and the words that tell one use of it from another."""
    command = arguments[0]
    if command in READERS or arguments[:2] == ("worktree", "list"):
        return READING
    telling = [word for word in arguments[1:] if word in TELLING]
    return " ".join(["git", command, *telling])


TELLING = _words("add remove -d --stdin --ff-only --reset -u -m --hard --cached --index-info -b prune repair")


def _name_git(watch: Watch) -> None:
    from agentpane.worktrees.git import runner as git

    inner = git.GitRunner._finish
    plain: type[Any] = vars(git)["Child"]

    async def finish(self: Any, place: Any, arguments: Sequence[str], *rest: Any) -> Any:
        when = watch.enter(git_step(tuple(arguments)))
        token = DURING_GIT.set(when if when in {When.DURING, When.WITH_GIT} else None)
        try:
            output = await inner(self, place, arguments, *rest)
        finally:
            DURING_GIT.reset(token)
        if when is not None:
            watch.die()  # AFTER, or git was quicker than the delay
        return output

    class Watched(plain):  # type: ignore[misc]
        """A child during which this process may die, alone or with it."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.when = DURING_GIT.get()

        def run(self, *args: Any) -> Any:
            if self.when is not None:
                watch.die_soon(self.wait_for_it, self.take_along)
            return super().run(*args)

        def wait_for_it(self) -> None:
            until = time.monotonic() + LONGEST_S
            while self._process is None and time.monotonic() < until:
                time.sleep(0)

        def take_along(self) -> None:
            if self.when is When.WITH_GIT and self._process is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)

    git.GitRunner._finish = finish  # type: ignore[method-assign,assignment]
    setattr(git, "Child", Watched)  # noqa: B010


def database_step(fn: Callable[..., Any]) -> str:
    """`db.merges.intend` for a function of the database's, `review.merged.store` for one of the orchestrator's."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    module = fn.__module__.removeprefix("agentpane.").removeprefix("orchestrator.")
    name = fn.__qualname__.replace("<locals>.", "")
    return f"write {module}:{name}"


def _name_database(watch: Watch) -> None:
    from agentpane.db.connection import Database

    inner = Database.write

    async def write(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        when = watch.enter(database_step(fn))

        def uncommitted(*inner_args: Any, **inner_kwargs: Any) -> Any:
            result = fn(*inner_args, **inner_kwargs)
            watch.die()
            return result

        result = await inner(self, uncommitted if when in {When.DURING, When.WITH_GIT} else fn, *args, **kwargs)
        if when is When.AFTER:
            watch.die()
        return result

    Database.write = write  # type: ignore[method-assign]


def caller() -> str | None:
    """The innermost function of the engine's own on the stack, as `module:function`; None when it is private."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("agentpane."):
            function = frame.f_code.co_name
            private = function in PRIVATE or module.startswith("agentpane.sandbox.")
            return None if private else f"{module.split('.', 1)[1]}:{function}"
        frame = frame.f_back
    return None


def _name_files(watch: Watch) -> None:
    for name in STEP_OF_FILES:
        _name_file(watch, name, getattr(os, name))


def _name_file(watch: Watch, name: str, inner: Callable[..., Any]) -> None:
    @functools.wraps(inner)
    def named(*args: Any, **kwargs: Any) -> Any:
        where = caller() if SEQUENCE.get() is not None else None
        when = None if where is None else watch.enter(f"{name} in {where}")
        result = inner(*args, **kwargs)
        if when is not None:
            watch.die()
        return result

    setattr(os, name, named)


def _name_commands(watch: Watch) -> None:
    from agentpane.orchestrator.runs.telling import TellingSandbox

    inner = TellingSandbox.run

    async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        when = watch.enter("command in the sandbox")
        if when in {When.DURING, When.WITH_GIT}:
            watch.die_soon()
        result = await inner(self, *args, **kwargs)
        if when is not None:
            watch.die()
        return result

    TellingSandbox.run = run  # type: ignore[method-assign]


def modes(step: str) -> tuple[When, ...]:
    """In which ways one can die at a step."""
    if step == READING:
        return (When.BEFORE,)
    if step.startswith("git "):
        return (When.BEFORE, When.DURING, When.DURING, When.WITH_GIT, When.WITH_GIT, When.WITH_GIT, When.AFTER)
    if step.startswith(("write ", "command ")):
        return (When.BEFORE, When.DURING, When.AFTER)
    return (When.BEFORE, When.AFTER)


def chosen(rng: random.Random, sequence: str, step: str, times: int, longest_s: float) -> Point:
    """A point at one of the `times` occurrences of a step that takes about `longest_s`."""
    when = rng.choice(modes(step))
    return Point(sequence, step, rng.randint(1, max(1, times)), when, rng.uniform(0, longest_s))
