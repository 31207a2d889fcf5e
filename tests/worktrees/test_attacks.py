"""What an agent can plant: each is shown to run under plain git, and not to run under ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpane.worktrees import Conflicted, GitError, Merged, MergePlan, Snapshot, WorktreePlan
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


def hook(bench: Bench, trap: Trap) -> None:
    for name in (
        "pre-commit",
        "post-commit",
        "post-checkout",
        "post-merge",
        "reference-transaction",
        "post-index-change",
    ):
        file = bench.repo.common_dir / "hooks" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\nexec {trap.script} </dev/null\n")
        file.chmod(0o755)


def hooks_path(bench: Bench, trap: Trap) -> None:
    """The repository uses a relative core.hooksPath already, so that a file in the worktree is enough."""
    git(bench.repo.path, "config", "core.hooksPath", "tools/hooks")
    for root in (bench.path, bench.repo.path):
        (root / "tools" / "hooks").mkdir(parents=True)
        for name in ("pre-commit", "post-checkout", "post-merge", "reference-transaction"):
            (root / "tools" / "hooks" / name).write_text(f"#!/bin/sh\nexec {trap.script} </dev/null\n")
            (root / "tools" / "hooks" / name).chmod(0o755)


def fsmonitor(bench: Bench, trap: Trap) -> None:
    git(bench.repo.path, "config", "core.fsmonitor", str(trap.script))


def included(bench: Bench, trap: Trap) -> None:
    """The repository includes a tracked file, so that an edit in the worktree is enough."""
    (bench.repo.path / "shared.gitconfig").write_text(f"[core]\n\tfsmonitor = {trap.script}\n")
    git(bench.repo.path, "config", "include.path", str(bench.repo.path / "shared.gitconfig"))


def worktree_config(bench: Bench, trap: Trap) -> None:
    git(bench.repo.path, "config", "extensions.worktreeConfig", "true")
    (bench.made.git_dir / "config.worktree").write_text(f"[core]\n\tfsmonitor = {trap.script}\n")


def filters(bench: Bench, trap: Trap) -> None:
    for root in (bench.path, bench.repo.path):
        (root / ".gitattributes").write_text("* filter=ev.il=x\n")
    for key in ("clean", "smudge"):
        git(bench.repo.path, "config", f"filter.ev.il=x.{key}", str(trap.script))


def process_filter(bench: Bench, trap: Trap) -> None:
    (bench.path / ".gitattributes").write_text("* filter=evil\n")
    git(bench.repo.path, "config", "filter.evil.process", str(trap.script))


def external_diff(bench: Bench, trap: Trap) -> None:
    git(bench.repo.path, "config", "diff.external", str(trap.script))


def diff_driver(bench: Bench, trap: Trap) -> None:
    for root in (bench.path, bench.repo.path):
        (root / ".gitattributes").write_text("* diff=evil\n")
    git(bench.repo.path, "config", "diff.evil.command", str(trap.script))


def textconv(bench: Bench, trap: Trap) -> None:
    for root in (bench.path, bench.repo.path):
        (root / ".gitattributes").write_text("* diff=evil\n")
    git(bench.repo.path, "config", "diff.evil.textconv", str(trap.script))


def merge_driver(bench: Bench, trap: Trap) -> None:
    (bench.repo.common_dir / "info").mkdir(exist_ok=True)
    (bench.repo.common_dir / "info" / "attributes").write_text("* merge=evil\n")
    git(bench.repo.path, "config", "merge.evil.driver", f"{trap.script} %A")


def signing(bench: Bench, trap: Trap) -> None:
    git(bench.repo.path, "config", "commit.gpgsign", "true")
    git(bench.repo.path, "config", "gpg.program", str(trap.script))


def replaced_git_file(bench: Bench, trap: Trap) -> None:
    """The worktree's .git file is made to name a repository of the agent's own."""
    own = bench.path.parent / "own"
    subprocess.run(["git", "init", "-q", str(own)], check=True)
    git(own, "config", "core.fsmonitor", str(trap.script))
    git(own, "config", "user.name", "Mallory")
    (bench.path / ".git").write_text(f"gitdir: {own / '.git'}\n")


def rewritten_commondir(bench: Bench, trap: Trap) -> None:
    own = bench.path.parent / "own"
    subprocess.run(["git", "clone", "-q", "--no-local", str(bench.repo.path), str(own)], check=True)
    git(own, "config", "core.fsmonitor", str(trap.script))
    git(own, "update-ref", f"refs/heads/{bench.made.branch}", "HEAD")
    (bench.made.git_dir / "commondir").write_text(f"{own / '.git'}\n")


def nested_repository(bench: Bench, trap: Trap) -> None:
    """A tracked submodule whose own configuration runs something when git looks into it."""
    sub = bench.path / "sub"
    subprocess.run(["git", "init", "-q", str(sub)], check=True)
    (sub / "f").write_text("1")
    commit_all(sub)
    git(bench.path, "add", "sub")
    git(bench.path, "commit", "-q", "-m", "sub")
    (sub / "f").write_text("2")
    git(sub, "config", "core.fsmonitor", str(trap.script))


PLANTS: dict[str, Callable[[Bench, Trap], None]] = {
    plant.__name__: plant
    for plant in (
        hook, hooks_path, fsmonitor, included, worktree_config, filters, process_filter, external_diff, diff_driver,
        textconv, merge_driver, signing, replaced_git_file, rewritten_commondir, nested_repository,
    )
}  # fmt: skip


def both_sides(bench: Bench) -> None:
    (bench.path / "src/app.py").write_text((bench.path / "src/app.py").read_text() + "agent\n")
    (bench.repo.path / "src/app.py").write_text("person\n" + (bench.repo.path / "src/app.py").read_text())


@pytest.mark.parametrize("plant", PLANTS)
async def test_plain_git_runs_what_was_planted(bench: Bench, trap: Trap, plant: str) -> None:
    both_sides(bench)
    commit_all(bench.repo.path)
    PLANTS[plant](bench, trap)
    for command in ("status", "diff", "diff HEAD", "add -A", "commit -q -m x", "merge -q --no-edit main"):
        git(bench.path, *command.split(), check=False)
    assert trap.sprung


@pytest.mark.parametrize("plant", PLANTS)
async def test_nothing_that_was_planted_runs_from_snapshot_to_merge_and_removal(
    bench: Bench, trap: Trap, plant: str
) -> None:
    both_sides(bench)
    commit_all(bench.repo.path)
    PLANTS[plant](bench, trap)
    trap.mark.unlink(missing_ok=True)  # planting is done with plain git
    worktrees, repo = bench.worktrees, bench.repo
    await worktrees.open_repository(repo.path)
    made = await worktrees.snapshot(repo, bench.made.worktree, bench.base, "run1", "m")
    assert isinstance(made, Snapshot)
    await worktrees.diff_files(repo, bench.base, made.sha)
    await worktrees.diff_stat(repo, bench.base, made.sha)
    patch = b"".join([chunk async for chunk in worktrees.diff_patch(repo, bench.base, made.sha)])
    assert b"+agent" in patch
    for name in (".gitattributes", "shared.gitconfig"):
        (repo.path / name).unlink(missing_ok=True)
    shutil.rmtree(repo.path / "tools", ignore_errors=True)
    outcome = await worktrees.merge(repo, MergePlan("main", made.sha, "run1", "merge", "m", bench.base), Journal())
    assert isinstance(outcome, Merged), outcome
    assert (await worktrees.read_file(repo, outcome.commit, "src/app.py") or b"").startswith(b"person\nline 0")
    (bench.path / "late").write_text("x")
    await worktrees.recovery_snapshot(repo, bench.made.worktree, "r1")
    # A folder that does not lead back to git's record of it may be somebody else's, and stays.
    if await worktrees.why_not_ours(repo, bench.made.worktree) is None:
        await worktrees.remove_worktree(repo, bench.made.worktree, made.sha)
    else:
        assert plant.__name__ == "replaced_git_file"
    assert not trap.sprung, trap.mark.read_text()


@pytest.mark.parametrize("plant", PLANTS)
async def test_nothing_that_was_planted_runs_when_the_next_worktree_is_made(
    bench: Bench, trap: Trap, plant: str
) -> None:
    PLANTS[plant](bench, trap)
    trap.mark.unlink(missing_ok=True)
    plan = WorktreePlan(bench.path.with_name("two"), "agentpane/two-abc123", bench.base)
    assert ((await bench.worktrees.create_worktree(bench.repo, plan)).path / "readme.md").is_file()
    assert not trap.sprung, trap.mark.read_text()


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


async def test_a_replaced_object_cannot_show_another_commit_than_is_merged(bench: Bench) -> None:
    (bench.path / "new").write_text("evil\n")
    made = await bench.snap()
    harmless = git(bench.path, "commit-tree", f"{bench.base}^{{tree}}", "-p", bench.base, "-m", "harmless")
    git(bench.path, "replace", made.sha, harmless)
    assert [change.path for change in await bench.worktrees.diff_files(bench.repo, bench.base, made.sha)] == ["new"]


async def test_a_promised_object_is_never_fetched(bench: Bench, trap: Trap) -> None:
    trap.script.write_text(f"#!/bin/sh\ntouch {trap.mark}\nexit 1\n")
    git(bench.repo.path, "config", "remote.origin.url", f"ext::{trap.script}")
    git(bench.repo.path, "config", "remote.origin.promisor", "true")
    git(bench.repo.path, "config", "protocol.ext.allow", "always")
    git(bench.repo.path, "config", "extensions.partialClone", "origin")
    git(bench.repo.path, "config", "core.repositoryFormatVersion", "1")
    blob = git(bench.repo.path, "rev-parse", "HEAD:readme.md")
    (bench.repo.common_dir / "objects" / blob[:2] / blob[2:]).unlink()
    git(bench.repo.path, "cat-file", "-p", blob, check=False)
    assert trap.sprung
    trap.mark.unlink()
    with pytest.raises(GitError):
        await bench.worktrees.read_file(bench.repo, "main", "readme.md")
    assert not trap.sprung
