"""Real git on real repositories; the host's own git configuration is out of sight."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpane.worktrees import CreatedWorktree, MergeIntent, Repository, Snapshot, WorktreePlan, Worktrees


@pytest.fixture(autouse=True)
def masked_host(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    return home


@pytest.fixture
async def worktrees() -> AsyncIterator[Worktrees]:
    made = Worktrees()
    yield made
    await made.close()


def git(where: Path, *arguments: str | bytes, stdin: bytes = b"", check: bool = True) -> str:
    """Plain git, as a person would run it."""
    done = subprocess.run(["git", *arguments], cwd=where, input=stdin, capture_output=True, check=False)
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
    return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


def git_bytes(where: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=where, capture_output=True, check=True).stdout


def commit_all(where: Path, message: str = "More") -> str:
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", message)
    return git(where, "rev-parse", "HEAD")


FILES = {
    "readme.md": b"# Sample\n",
    "src/app.py": b"".join(b"line %d\n" % number for number in range(40)),
    "run.sh": b"#!/bin/sh\n",
}


@dataclass
class Bench:
    """A repository with one worktree of ours, as most sentences need it."""

    worktrees: Worktrees
    repo: Repository
    base: str
    made: CreatedWorktree

    @property
    def path(self) -> Path:
        return self.made.path

    async def snap(self, run_id: str = "run1", excluded: tuple[str, ...] = ()) -> Snapshot:
        made = await self.worktrees.snapshot(self.repo, self.made.worktree, self.base, run_id, "Snapshot\n", excluded)
        assert isinstance(made, Snapshot), made
        return made


@pytest.fixture
async def repo(worktrees: Worktrees, tmp_path: Path) -> Repository:
    return await worktrees.make_repository(tmp_path / "repo", FILES, "First\n", executable=frozenset({"run.sh"}))


async def bench_of(worktrees: Worktrees, repo: Repository, copy_files: tuple[str, ...] = ()) -> Bench:
    base = await worktrees.base_branch(repo, "main")
    where = (repo.path.parent if repo.bare else repo.path) / ".worktrees" / "one"
    plan = WorktreePlan(where, "agentpane/one-abc123", base.sha, copy_files)
    return Bench(worktrees, repo, base.sha, await worktrees.create_worktree(repo, plan))


@pytest.fixture
async def bench(worktrees: Worktrees, repo: Repository) -> Bench:
    return await bench_of(worktrees, repo)


class Journal:
    """Remembers the intents that were written down."""

    def __init__(self) -> None:
        self.intents: list[MergeIntent] = []

    async def __call__(self, intent: MergeIntent) -> None:
        self.intents.append(intent)
