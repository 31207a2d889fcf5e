"""A commit that is written without git is the one that git would have made; history is told only as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from agentpane.worktrees import Repository, Worktrees
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.refs.commits import make_commit
from agentpane.worktrees.refs.history import tree_of_holder
from tests.worktrees.conftest import commit_all, git
from tests.worktrees.test_pool import Started

MESSAGE = "Grüße — 合并\n\nTask: x\n\nno end of line"


def masked(raw: str) -> str:
    return re.sub(r"\d{9,} [+-]\d{4}", "WHEN", raw)


@pytest.mark.parametrize(
    ("settings", "by_git"),
    [
        ({}, False),
        ({"user.name": ' ;.Zoë <the> "One", Jr.\'', "user.email": "<zoe@example.org>."}, False),
        ({"author.name": "Author", "author.email": "a@b", "committer.name": "Committer"}, False),
        ({"core.sharedRepository": "group"}, True),
    ],
)
async def test_a_commit_is_byte_for_byte_what_git_would_have_made(
    worktrees: Worktrees,
    repo: Repository,
    monkeypatch: pytest.MonkeyPatch,
    settings: Mapping[str, str],
    by_git: bool,
) -> None:
    for key, value in settings.items():
        git(repo.path, "config", key, value)
    base, tree = git(repo.path, "rev-parse", "HEAD"), git(repo.path, "rev-parse", "HEAD^{tree}")
    runner = worktrees._git
    wanted = (
        await runner.run(objects_of(repo), "commit-tree", tree, "-p", base, "-p", base, stdin=MESSAGE.encode())
    ).line
    started = Started(monkeypatch)
    made = await make_commit(runner, repo, tree, (base, base), MESSAGE)
    assert any("commit-tree" in command for command in started.commands) is by_git
    shown = [git(repo.path, "cat-file", "commit", commit) for commit in (wanted, made)]
    assert masked(shown[0]) == masked(shown[1]) and "WHEN" in masked(shown[0])
    assert "error" not in git(repo.path, "fsck", "--strict", "--no-dangling")


async def test_without_any_identity_the_commit_is_the_programs_own(
    worktrees: Worktrees, repo: Repository, masked_host: Path
) -> None:
    (masked_host / ".gitconfig").unlink()
    tree = git(repo.path, "rev-parse", "HEAD^{tree}")
    made = await make_commit(worktrees._git, repo, tree, (), "One\n")
    assert git(repo.path, "show", "-s", "--format=%an <%ae> %cn <%ce>", made) == (
        "AgentPane <agentpane@localhost> AgentPane <agentpane@localhost>"
    )


async def test_in_a_repository_of_sha_256_names_are_its_own(worktrees: Worktrees, tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    git(tmp_path / "r", "init", "-q", "-b", "main", "--object-format=sha256")
    (tmp_path / "r" / "a").write_text("a")
    base = commit_all(tmp_path / "r")
    repo = await worktrees.open_repository(tmp_path / "r")
    tree = git(repo.path, "rev-parse", "HEAD^{tree}")
    made = await make_commit(worktrees._git, repo, tree, (base,), "Two\n")
    assert len(made) == 64 and git(repo.path, "rev-parse", f"{made}^") == base
    assert tree_of_holder(repo, made, base) == tree
    git(repo.path, "fsck", "--strict", "--no-dangling")


async def test_recent_history_is_read_from_the_files_of_commits_or_not_at_all(repo: Repository) -> None:
    base = git(repo.path, "rev-parse", "HEAD")
    git(repo.path, "checkout", "-q", "-b", "side")
    (repo.path / "side").write_text("x")
    side = commit_all(repo.path)
    git(repo.path, "checkout", "-q", "main")
    (repo.path / "more").write_text("x")
    commit_all(repo.path)
    git(repo.path, "merge", "-q", "--no-edit", "side")
    tip, tree = git(repo.path, "rev-parse", "HEAD"), git(repo.path, "rev-parse", "HEAD^{tree}")
    assert {tree_of_holder(repo, tip, held) for held in (base, side, tip)} == {tree}
    assert tree_of_holder(repo, side, tip) is None and tree_of_holder(repo, tip, "1" * 40) is None
    side_file = repo.common_dir / "objects" / side[:2] / side[2:]
    kept = side_file.read_bytes()
    side_file.chmod(0o644)
    for planted in (b"", b"rubbish", (repo.common_dir / "objects" / tip[:2] / tip[2:]).read_bytes()):
        side_file.write_bytes(planted)
        assert tree_of_holder(repo, side, base) is None
    side_file.write_bytes(kept)
    git(repo.path, "gc", "-q")
    assert tree_of_holder(repo, tip, base) is None
