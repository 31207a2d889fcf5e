"""A lock of git's goes only when no program may hold it, and when it is old or proved to be ours."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from agentpane.domain.health import HealthCode
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.orchestrator.workspaces import mending
from agentpane.worktrees.git.child import Child
from tests.orchestrator.conftest import BOUND, git, running
from tests.orchestrator.test_health import House, house

pytestmark = pytest.mark.usefixtures("temporary")


@asynccontextmanager
async def committing(worktree: Path, tools: Path) -> AsyncIterator[None]:
    """A person's `git commit` whose editor is open; it has closed its lock meanwhile, and needs it afterwards."""
    tools.mkdir()
    editor, opened, closes = tools / "editor", tools / "opened", tools / "closes"
    os.mkfifo(closes)
    editor.write_text(f'#!/bin/sh\necho words > "$1"\ntouch {opened}\nread line < {closes}\n')
    editor.chmod(0o755)
    environment = {**os.environ, "GIT_EDITOR": str(editor)}
    person = await asyncio.to_thread(subprocess.Popen, ["git", "commit", "-q", "-a"], cwd=worktree, env=environment)
    async with asyncio.timeout(BOUND):
        while not opened.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield
    await asyncio.to_thread(closes.write_text, "\n")
    assert await asyncio.to_thread(person.wait) == 0


@contextmanager
def reading(worktree: Path) -> Iterator[None]:
    """A git that lasts, and takes no lock."""
    with subprocess.Popen(["git", "cat-file", "--batch"], cwd=worktree, stdin=subprocess.PIPE) as reader:
        yield
        assert reader.stdin is not None
        reader.stdin.close()


def ended() -> int:
    """The number of a process that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def put(lock: Path, content: bytes = b"", age_s: float = 0) -> Path:
    lock.write_bytes(content)
    at = lock.stat().st_mtime - age_s
    os.utime(lock, (at, at))
    return lock


async def reported(home: House) -> bool:
    return HealthCode.LOCK_LEFT in {each.code for each in (await home.report()).findings}


async def test_a_lock_that_a_git_may_hold_stays_wherever_the_worktree_lies(
    data: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mending, "PAUSE_S", 0.0)
    monkeypatch.setattr(mending, "LOOKS", 2)
    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, out = await home.worktree("a card"), tmp_path / "elsewhere"
        unlock = bench.engine.services.mending.unlock
        git(repository, "worktree", "move", row.path, str(out))
        await home.put(row, path=str(out))
        lock = Path(row.git_dir or "") / "index.lock"
        (out / "a.txt").write_text("edited\n")
        async with committing(out, tmp_path / "tools"):
            put(lock, lock.read_bytes(), age_s=9_000)
            await unlock()
            assert lock.exists() and not await reported(home)
        assert git(out, "status", "--porcelain") == "" and not lock.exists()

        with put(lock, age_s=9_000).open():  # by a program that is no git
            await unlock()
            assert lock.exists() and not await reported(home)
        with reading(out):
            await unlock()
        assert not lock.exists()


async def test_a_lock_that_was_just_made_goes_only_if_it_is_proved_to_be_ours(
    data: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[bytes] = []
    notes = data / "at-work"
    run = Child.run

    def run_and_look(child: Child, *given: object) -> tuple[int, bytes, bytes]:
        noted.extend(note.read_bytes() for note in notes.glob("at-work-*"))
        return run(child, *given)  # type: ignore[arg-type]

    async with running(data, {}) as bench:
        home = await house(bench, repository)
        row, services = await home.worktree("a card"), bench.engine.services
        unlock, git_dir = services.mending.unlock, Path(row.git_dir or "")
        for lock, content, goes in (
            (git_dir / "index.lock", b"", False),
            (git_dir / "HEAD.lock", b"agentpane %d" % os.getpid(), False),
            (git_dir / "HEAD.lock", b"agentpane %d" % ended(), True),
        ):
            put(lock, content)
            await unlock()
            assert lock.exists() is not goes, (lock, content)
            lock.unlink(missing_ok=True)

        repo = await services.core.git.open_repository(repository)
        (Path(row.path) / "new.txt").write_text("x\n")
        with monkeypatch.context() as watched:
            watched.setattr(Child, "run", run_and_look)
            base = row.base_sha or ""
            await services.core.git.snapshot(repo, as_worktree(row), base, "run", "words", ())
        note = os.fsencode(git_dir) + b"\0" + os.fsencode(repo.common_dir)
        assert any(each.startswith(note + b"\0") for each in noted) and not list(notes.iterdir())
        packed = [put(repository / ".git" / name, age_s=9_000) for name in ("packed-refs.lock", "packed-refs.new")]
        await unlock()
        assert all(lock.exists() for lock in packed)  # nothing says that a git of ours has made them

        put(notes / "at-work-1", note + b"\0merge", age_s=1_000)
        shared = repository / ".git"
        locks = [
            git_dir / "index.lock",
            shared / "refs" / "heads" / f"{row.branch}.lock",
            shared / "packed-refs.lock",
            shared / "packed-refs.new",  # which git writes beside its lock, and stumbles over
        ]
        for lock in locks:
            put(lock, age_s=990)
        await unlock()
        assert not any(lock.exists() for lock in locks)
        # Before that git was at work, long after it can have ended, and after one can have ended that moves refs.
        for command, age_s in ((b"merge", 1_100), (b"merge", -3_000), (b"update-ref", 900)):
            put(notes / "at-work-1", note + b"\0" + command, age_s=1_000)
            put(locks[-1], age_s=age_s)
            await unlock()
            assert locks[-1].exists(), (command, age_s)
        locks[-1].unlink()

        # A worktree of the person's, in which a target is checked out.
        git(repository, "worktree", "add", "-q", "--detach", str(repository.parent / "theirs"))
        theirs = put(repository / ".git" / "worktrees" / "theirs" / "HEAD.lock")
        await unlock()
        assert theirs.exists()
        (notes / "at-work-2").write_text(f"{theirs.parent}\0{repo.common_dir}\0merge")
        await unlock()
        assert not theirs.exists()

        # However many there are, a git that is at work is waited for once.
        looks: list[int] = []
        folder = repository / ".git" / "refs" / "agentpane"
        folder.mkdir(exist_ok=True)
        for number in range(30):
            put(folder / f"{number}.lock", age_s=100)
        monkeypatch.setattr(mending, "PAUSE_S", 0.0)
        monkeypatch.setattr(mending, "may_be_held", lambda repo, left: looks.append(len(left)) or True)
        await unlock()
        assert looks == [30] * mending.LOOKS
