from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane.worktrees import Repository, branch_places
from tests.worktrees.conftest import commit_all, git


def names(path: Path, branch: str) -> set[str]:
    return {name for name, _, _ in branch_places(path, branch).folders}


def mark(path: Path, branch: str = "main") -> str | None:
    return branch_places(path, branch).mark


def test_a_branch_is_marked_anew_however_it_moves_and_kept_apart_from_others(repo: Repository) -> None:
    git(repo.path, "branch", "release/1")
    seen = [mark(repo.path, "release/1")]
    head = commit_all_with(repo.path, "more")
    git(repo.path, "branch", "other")
    assert mark(repo.path, "release/1") == seen[0]
    git(repo.path, "update-ref", "refs/heads/release/1", head)
    seen.append(mark(repo.path, "release/1"))
    git(repo.path, "pack-refs", "--all")
    assert not (repo.common_dir / "refs/heads/release/1").exists()
    seen.append(mark(repo.path, "release/1"))
    git(repo.path, "update-ref", "refs/heads/release/1", "HEAD~1")
    seen.append(mark(repo.path, "release/1"))
    git(repo.path, "update-ref", "refs/heads/release/1", head)
    seen.append(mark(repo.path, "release/1"))
    assert None not in seen and len(set(seen)) == len(seen)
    git(repo.path, "branch", "-D", "release/1")
    assert mark(repo.path, "release/1") is None


def test_a_branch_that_is_another_name_of_one_moves_with_it(repo: Repository) -> None:
    git(repo.path, "branch", "real/trunk")
    git(repo.path, "symbolic-ref", "refs/heads/alias", "refs/heads/real/trunk")
    before = mark(repo.path, "alias")
    assert str(repo.common_dir / "refs/heads/real") in names(repo.path, "alias")
    head = commit_all_with(repo.path, "more")
    git(repo.path, "update-ref", "refs/heads/real/trunk", head)
    moved = mark(repo.path, "alias")
    assert None not in (before, moved) and before != moved
    git(repo.path, "symbolic-ref", "refs/heads/alias", "refs/heads/alias")
    assert mark(repo.path, "alias") is not None  # git refuses to read it, and nothing here goes round for ever


def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(repo: Repository) -> None:
    for name in ("packed-refs", "refs/heads/main"):
        (repo.common_dir / name).unlink(missing_ok=True)
        os.mkfifo(repo.common_dir / name)
    assert mark(repo.path) is None


def commit_all_with(where: Path, name: str) -> str:
    (where / name).write_text(name)
    return commit_all(where, name)


def test_only_folders_on_the_way_to_the_branch_are_watched(repo: Repository) -> None:
    common, above = repo.common_dir, str(repo.path.parent)
    heads = {str(common), str(common / "refs"), str(common / "refs/heads"), above}
    for branch in ("release/1", "agentpane/one", "agentpane/two"):
        git(repo.path, "branch", branch)
    assert names(repo.path, "main") == heads
    assert names(repo.path, "release/1") == heads | {str(common / "refs/heads/release")}
    telling = branch_places(repo.path, "release/1").telling
    for path in ("refs/heads/release/1", "refs/heads/release", "packed-refs", "reftable/tables.list", "../.git"):
        assert str((common / path).resolve()) in telling
    for path in ("index", "HEAD.lock", "refs/heads/main", "refs/heads/release/1.lock", "refs/heads/agentpane/one"):
        assert str(common / path) not in telling


def test_a_linked_worktree_and_a_bare_repository_are_read_where_their_refs_lie(
    repo: Repository, tmp_path: Path
) -> None:
    linked, bare = tmp_path / "deep" / "linked", tmp_path / "bare.git"
    git(repo.path, "worktree", "add", "-q", "--detach", str(linked))
    assert mark(linked) == mark(repo.path)
    assert names(linked, "main") == names(repo.path, "main") | {str(linked.parent)}
    git(repo.path, "clone", "-q", "--bare", ".", str(bare))
    assert str(mark(bare)).split()[:1] == str(mark(repo.path)).split()[:1]
    assert str(bare) in names(bare, "main")


@pytest.mark.parametrize("gone", ["repo", "repo/.git", "above/repo"])
def test_of_a_repository_that_is_gone_the_nearest_folder_is_watched(
    repo: Repository, tmp_path: Path, gone: str
) -> None:
    path = repo.path
    if gone == "above/repo":
        path = tmp_path / "above" / "deeper" / "repo"
    else:
        (tmp_path / gone).rename(tmp_path / "away")
    found = branch_places(path, "main")
    assert found.mark is None
    nearest = repo.path if gone == "repo/.git" else tmp_path
    assert str(nearest) in {name for name, _, _ in found.folders}
    assert str(path) in found.telling and str(path / ".git") in found.telling


def test_a_repository_made_anew_at_the_same_place_has_other_folders(repo: Repository, tmp_path: Path) -> None:
    before = branch_places(repo.path, "main")
    git(tmp_path, "clone", "-q", str(repo.path), "again")
    repo.path.rename(tmp_path / "old")
    (tmp_path / "again").rename(repo.path)
    after = branch_places(repo.path, "main")
    assert {name for name, _, _ in before.folders} == {name for name, _, _ in after.folders}
    assert before.folders != after.folders
