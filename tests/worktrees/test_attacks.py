"""What is done with what was planted, beyond that it does not run; `vectors` shows that for each."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpane.worktrees import Conflicted, Merged, MergePlan
from tests.worktrees.conftest import Bench, Journal, commit_all, git


@dataclass
class Trap:
    """A program that leaves a mark when it runs."""

    script: Path
    mark: Path

    @property
    def sprung(self) -> bool:
        return self.mark.exists()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    made = Trap(tmp_path / "trap", tmp_path / "mark")
    made.script.write_text(f'#!/bin/sh\necho "$0 $*" >> {made.mark}\ncat 2>/dev/null\nexit 0\n')
    made.script.chmod(0o755)
    return made


def merge_driver(bench: Bench, trap: Trap) -> None:
    (bench.repo.common_dir / "info").mkdir(exist_ok=True)
    (bench.repo.common_dir / "info" / "attributes").write_text("* merge=evil\n")
    git(bench.repo.path, "config", "merge.evil.driver", f"{trap.script} %A")


def replaced_git_file(bench: Bench, trap: Trap) -> None:
    """The worktree's .git file is made to name a repository of the agent's own."""
    own = bench.path.parent / "own"
    subprocess.run(["git", "init", "-q", str(own)], check=True)
    git(own, "config", "core.fsmonitor", str(trap.script))
    git(own, "config", "user.name", "Mallory")
    (bench.path / ".git").write_text(f"gitdir: {own / '.git'}\n")


async def test_a_merge_driver_is_replaced_by_gits_own_merge_and_still_finds_conflicts(bench: Bench, trap: Trap) -> None:
    merge_driver(bench, trap)
    (bench.path / "readme.md").write_text("agent\n")
    (bench.repo.path / "readme.md").write_text("person\n")
    commit_all(bench.repo.path)
    made = await bench.snap()
    outcome = await bench.worktrees.merge(bench.repo, MergePlan("main", made.sha, "run1", "merge", "m"), Journal())
    assert isinstance(outcome, Conflicted) and [one.path for one in outcome.paths] == ["readme.md"]
    assert not trap.sprung


async def test_a_replaced_git_file_neither_moves_nor_renames_anything(bench: Bench, trap: Trap) -> None:
    replaced_git_file(bench, trap)
    (bench.path / "new").write_text("x")
    made = await bench.snap()
    assert git(bench.repo.path, "log", "-1", "--format=%an", made.sha) == "Ada"
    assert git(bench.repo.path, "rev-parse", bench.made.branch) == made.sha


async def test_the_persons_own_filter_works_in_their_checkout_and_one_from_the_repository_does_not(
    bench: Bench, trap: Trap, tmp_path: Path
) -> None:
    own = Trap(tmp_path / "own", tmp_path / "own-mark")
    own.script.write_text(f"#!/bin/sh\ntouch {own.mark}\nsed s/x/smudged/\n")
    own.script.chmod(0o755)
    git(bench.repo.path, "config", "--global", "filter.mine.smudge", str(own.script))
    git(bench.repo.path, "config", "filter.theirs.smudge", str(trap.script))
    (bench.path / ".gitattributes").write_text("new filter=mine\nother filter=theirs\n")
    (bench.path / "new").write_text("x\n")
    (bench.path / "other").write_text("x\n")
    made = await bench.snap()
    assert await bench.worktrees.read_file(bench.repo, made.sha, "new") == b"x\n"
    assert not own.mark.exists()
    plan = MergePlan("main", made.sha, "run1", "merge", "m")
    assert isinstance(await bench.worktrees.merge(bench.repo, plan, Journal()), Merged)
    assert (bench.repo.path / "new").read_text() == "smudged\n"
    assert (own.sprung, trap.sprung) == (True, False)


async def test_no_variable_of_the_environment_redirects_git(
    bench: Bench, trap: Trap, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "GIT_DIR": str(tmp_path), "GIT_WORK_TREE": str(tmp_path), "GIT_INDEX_FILE": str(tmp_path / "i"),
        "GIT_EXTERNAL_DIFF": str(trap.script), "GIT_SSH_COMMAND": str(trap.script), "GIT_EDITOR": str(trap.script),
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": str(trap.script),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{trap.script}'", "GIT_OBJECT_DIRECTORY": str(tmp_path),
        "GIT_AUTHOR_NAME": "Mallory", "GIT_TRACE": str(tmp_path / "trace"), "GIT_NAMESPACE": "other",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    (bench.path / "new").write_text("x")
    made = await bench.snap()
    assert [change.path for change in await bench.worktrees.diff_files(bench.repo, bench.base, made.sha)] == ["new"]
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    assert git(bench.path, "log", "-1", "--format=%an") == "Ada"
    assert not trap.sprung and not (tmp_path / "trace").exists()
