from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Repository, Worktrees
from tests.worktrees.conftest import bench_of, commit_all, git


async def test_git_says_its_version(worktrees: Worktrees) -> None:
    assert (await worktrees.check_git())[0].isdigit()


async def test_without_git_the_code_is_git_missing() -> None:
    without = Worktrees(program="git-that-is-not-there")
    with pytest.raises(AgentPaneError) as caught:
        await without.check_git()
    await without.close()
    assert caught.value.code is ErrorCode.GIT_MISSING


async def test_an_old_git_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "git"
    old.write_text("#!/bin/sh\necho git version 2.37.9\n")
    old.chmod(0o755)
    with_old = Worktrees(program=str(old))
    with pytest.raises(AgentPaneError) as caught:
        await with_old.check_git()
    await with_old.close()
    assert caught.value.code is ErrorCode.GIT_TOO_OLD
    assert "2.37.9" in caught.value.message


async def test_a_repository_made_here_has_its_files_and_modes(worktrees: Worktrees, repo: Repository) -> None:
    assert git(repo.path, "status", "--porcelain") == ""
    assert git(repo.path, "log", "--format=%an <%ae> %s") == "Ada <ada@example.org> First"
    assert git(repo.path, "ls-files", "-s", "run.sh").startswith("100755")
    assert stat.S_IMODE((repo.path / "run.sh").stat().st_mode) == 0o755


async def test_without_an_identity_the_host_has_its_own(
    worktrees: Worktrees, masked_host: Path, tmp_path: Path
) -> None:
    (masked_host / ".gitconfig").unlink()
    made = await worktrees.make_repository(tmp_path / "x", {"a": b""}, "First", branch="trunk")
    assert git(made.path, "log", "--format=%an <%ae>") == "AgentPane <agentpane@localhost>"
    assert await worktrees.base_branch(made, None) == await worktrees.base_branch(made, "trunk")


async def test_a_folder_with_files_is_not_turned_into_a_repository(worktrees: Worktrees, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.make_repository(tmp_path, {"a": b""}, "First")
    assert caught.value.code is ErrorCode.PROJECT_PATH_EXISTS
    assert sorted(os.listdir(tmp_path)) == ["precious"]


@pytest.mark.parametrize("kind", ["missing", "file"])
async def test_a_path_that_is_no_folder_is_invalid(worktrees: Worktrees, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "file":
        path.write_text("")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(path)
    assert caught.value.code is ErrorCode.PROJECT_PATH_INVALID


async def test_a_plain_folder_is_no_repository(worktrees: Worktrees, tmp_path: Path) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(tmp_path)
    assert caught.value.code is ErrorCode.PROJECT_NOT_A_GIT_REPO


async def test_a_folder_inside_of_a_repository_is_refused_and_the_root_named(
    worktrees: Worktrees, repo: Repository
) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(repo.path / "src")
    assert caught.value.code is ErrorCode.PROJECT_NOT_A_GIT_REPO
    assert str(repo.path) in caught.value.hint


async def test_a_repository_without_commits_is_refused(worktrees: Worktrees, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(tmp_path)
    assert caught.value.code is ErrorCode.PROJECT_EMPTY_REPO


async def test_a_repository_whose_branches_cannot_be_read_is_not_called_empty(
    worktrees: Worktrees, repo: Repository
) -> None:
    (repo.git_dir / "refs/heads/main").write_text("garbage\n")
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(repo.path)
    assert caught.value.code is ErrorCode.PROJECT_NOT_A_GIT_REPO and "refs/heads/main" in caught.value.message


async def test_a_link_to_a_repository_opens_what_it_names(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(repo.path)
    assert await worktrees.open_repository(tmp_path / "link") == repo


async def test_the_base_branch_is_what_head_names_unless_given(worktrees: Worktrees, repo: Repository) -> None:
    git(repo.path, "branch", "develop")
    assert (await worktrees.base_branch(repo, None)).branch == "main"
    assert (await worktrees.base_branch(repo, "develop")).branch == "develop"


@pytest.mark.parametrize("wanted", ["nowhere", "-d", "../../HEAD", "main\nx", "HEAD", "refs/heads/main"])
async def test_a_base_branch_that_does_not_exist_is_a_validation_error(
    worktrees: Worktrees, repo: Repository, wanted: str
) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.base_branch(repo, wanted)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert caught.value.details["field"] == "base_branch"


async def test_a_detached_head_needs_a_base_by_name(worktrees: Worktrees, repo: Repository) -> None:
    git(repo.path, "checkout", "-q", "--detach")
    opened = await worktrees.open_repository(repo.path)
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.base_branch(opened, None)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert (await worktrees.base_branch(opened, "main")).branch == "main"


async def test_packed_branches_are_found(worktrees: Worktrees, repo: Repository) -> None:
    git(repo.path, "pack-refs", "--all")
    assert await worktrees.branch_tip(repo, "main") == git(repo.path, "rev-parse", "main")
    assert await worktrees.branch_tip(repo, "gone") is None


async def test_a_bare_repository_serves(worktrees: Worktrees, repo: Repository, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo.path), "bare.git")
    bare = await worktrees.open_repository(tmp_path / "bare.git")
    assert bare.bare and bare.path == bare.git_dir
    bench = await bench_of(worktrees, bare)
    (bench.path / "new").write_text("x")
    assert (await bench.snap()).stat.files == 1


async def test_a_sha256_repository_serves(worktrees: Worktrees, tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.mkdir()
    git(path, "init", "-q", "--object-format=sha256")
    (path / "a").write_text("x\n")
    commit_all(path)
    opened = await worktrees.open_repository(path)
    assert opened.object_format == "sha256"
    bench = await bench_of(worktrees, opened)
    (bench.path / "a").write_text("y\n")
    made = await bench.snap()
    assert len(made.sha) == 64 and git(bench.path, "status", "--porcelain") == ""


async def test_a_linked_worktree_may_itself_be_the_project(
    worktrees: Worktrees, repo: Repository, tmp_path: Path
) -> None:
    git(repo.path, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    opened = await worktrees.open_repository(tmp_path / "side")
    assert opened.common_dir == repo.common_dir and opened.git_dir != repo.git_dir
    assert (await worktrees.base_branch(opened, None)).branch == "side"


@pytest.mark.parametrize("setting", [("clean", "cat"), ("smudge", "cat"), ("process", "cat"), ("required", "true")])
async def test_a_filter_that_files_go_through_refuses_the_project_by_name(
    worktrees: Worktrees, repo: Repository, setting: tuple[str, str]
) -> None:
    git(repo.path, "config", f"filter.crypt.{setting[0]}", setting[1])
    assert await worktrees.open_repository(repo.path) == repo  # no file uses it
    (repo.path / ".gitattributes").write_text("*.key filter=crypt diff=crypt\n")
    commit_all(repo.path)
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.open_repository(repo.path)
    assert caught.value.code is ErrorCode.GIT_FILTER_REQUIRED
    assert "crypt" in caught.value.message
    assert (await worktrees.open_repository(repo.path, frozenset({"crypt"}))).allowed_filters == {"crypt"}


async def test_a_file_of_a_commit_can_be_read(worktrees: Worktrees, repo: Repository) -> None:
    (repo.path / "big").write_bytes(b"x" * (1024 * 1024 + 1))
    (repo.path / "link").symlink_to("readme.md")
    sha = commit_all(repo.path)
    (repo.path / "readme.md").write_text("edited, not committed")
    assert await worktrees.read_file(repo, sha, "readme.md") == b"# Sample\n"
    for absent in ("nothing", "src", "big", "link", "../readme.md"):
        assert await worktrees.read_file(repo, sha, absent) is None


async def test_the_files_of_a_folder_of_a_commit_are_listed(worktrees: Worktrees, repo: Repository) -> None:
    sha = git(repo.path, "rev-parse", "HEAD")
    assert await worktrees.list_tree(repo, sha, "") == ("readme.md", "run.sh", "src/app.py")
    assert await worktrees.list_tree(repo, sha, "src") == ("src/app.py",)
    assert await worktrees.list_tree(repo, sha, "none/") == ()
