from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane import mounts
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.temporary import delete
from agentpane.worktrees import Late, Recovery, Worktree, Worktrees
from agentpane.worktrees.places import registered
from agentpane.worktrees.trees import create
from agentpane.worktrees.trees.identity import MARK
from agentpane.worktrees.trees.remove import trash_folder
from agentpane.worktrees.trees.seal import LOCKED, WHY_LOCKED
from tests.worktrees.conftest import Bench, commit_all, git


async def test_a_removed_worktree_is_gone_with_its_record_and_branch(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    made = await bench.snap()
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, made.sha)
    assert not bench.path.exists() and not bench.made.git_dir.exists()
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) is None
    await bench.worktrees.close()
    assert os.listdir(trash_folder(bench.repo)) == []


async def test_a_branch_with_something_newer_is_kept(bench: Bench) -> None:
    (bench.path / "new").write_text("x")
    made = await bench.snap()
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) == made.sha


async def test_only_that_worktree_is_forgotten_not_others_whose_folder_is_away(bench: Bench, tmp_path: Path) -> None:
    git(bench.repo.path, "worktree", "add", "-q", "-b", "theirs", str(tmp_path / "theirs"))
    os.rename(tmp_path / "theirs", tmp_path / "on-a-stick")
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    assert [one.branch for one in await bench.worktrees.list_worktrees(bench.repo)] == ["main", "theirs"]


@pytest.mark.parametrize("other", [WHY_LOCKED, b"initializing\n"], ids=["by us", "by a git that was killed"])
async def test_a_worktree_that_the_person_has_locked_stays_and_is_not_made_again_over_its_record(
    bench: Bench, other: bytes
) -> None:
    git(bench.repo.path, "worktree", "lock", "--reason", "mine\x1b[2J", str(bench.path))
    assert "locked with git (mine\\x1b[2J)" in await refused(bench)
    os.rename(bench.path, bench.path.with_name("on-a-stick"))
    assert "locked with git" in await refused(bench)
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.attach_worktree(bench.repo, bench.path, bench.made.branch, mark=bench.made.mark)
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED and "worktree unlock" in caught.value.hint
    assert not bench.path.exists() and bench.made.git_dir.exists()
    (bench.made.git_dir / LOCKED).write_bytes(other)
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    assert not bench.made.git_dir.exists()


MOUNTS = b"""\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 22 0:5 / /dev/a\\040b\\011c\\012d\\134e rw,nosuid shared:2 - devtmpfs udev rw
36 22 8:1 /home/ada/photos %s/one/mnt/\xc3\xa4 rw,relatime - ext4 /dev/sda1 rw
37 22 8:1 /home/ada/photos %s/one-beside rw,relatime - ext4 /dev/sda1 rw
"""


async def test_a_worktree_with_something_mounted_in_it_is_neither_removed_nor_set_back_nor_taken_back(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.path / "mnt" / "ä"
    folder.mkdir(parents=True)
    (folder / "photo").write_text("precious")
    assert mounts.mounted_in(bench.path) == ()
    top = os.fsencode(bench.path.parent)
    (tmp_path / "table").write_bytes(MOUNTS % (top, top))
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "table")
    assert list(mounts.places(MOUNTS))[1] == Path("/dev/a b\tc\nd\\e")
    assert mounts.mounted_in(bench.path) == mounts.mounted_in(folder) == (folder,)
    assert str(folder) in await refused(bench)
    assert not await bench.worktrees.inspection.delete(bench.path)
    await create.take_back(bench.worktrees._git, bench.repo, bench.path, None, "", ())

    async def keep(lost: tuple[str, ...]) -> None:
        raise AssertionError("nothing is to be lost")

    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.set_back(bench.repo, bench.made.worktree, bench.base, (), keep)
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED and str(folder) in caught.value.hint
    assert (folder / "photo").read_text() == "precious" and bench.made.git_dir.exists()
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "none")  # as where the system has no such table
    assert mounts.mounted_in(bench.path) == () and mounts.mounted_in(Path("/dev")) != ()
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    assert not bench.path.exists()


def test_what_is_really_mounted_in_a_folder_outlives_its_deletion(tmp_path: Path) -> None:
    """Where mounting is not allowed, not even by a user for itself, nothing can be in danger."""
    theirs, folder = tmp_path / "the person's", tmp_path / "folder"
    (folder / "in a folder").mkdir(parents=True)
    theirs.mkdir()
    (theirs / "photo").write_text("precious")
    script = 'mount --bind "$1" "$2/in a folder" && exec "$3" -c "$4" "$2"'
    act = "import sys, pathlib; from agentpane.temporary import delete; delete(pathlib.Path(sys.argv[1])); print(1)"
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", theirs, folder)
    done = subprocess.run([*words, sys.executable, act], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "1\n" or "unshare:" in done.stderr or "mount:" in done.stderr, done
    assert (theirs / "photo").read_text() == "precious"
    delete(folder)
    assert not folder.exists() and (theirs / "photo").exists()


async def test_a_worktree_whose_folder_is_gone_can_be_removed(bench: Bench) -> None:
    os.rename(bench.path, bench.path.with_name("away"))
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert len(await bench.worktrees.list_worktrees(bench.repo)) == 1


async def test_what_is_no_worktree_of_the_repository_is_refused_and_kept(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "photo").write_text("precious")
    bench_tree = bench.made.worktree
    git(bench.repo.path, "worktree", "add", "-q", "-b", "b2", str(tmp_path / "b2"))
    wrong = [
        replace(bench_tree, path=tmp_path / "home"),
        replace(bench_tree, path=tmp_path / "b2"),
        replace(bench_tree, path=bench.repo.path),
        replace(bench_tree, git_dir=bench.repo.git_dir),
        Worktree(bench.repo.path, bench.repo.git_dir, "main"),
    ]
    for worktree in wrong:
        with pytest.raises(AgentPaneError) as caught:
            await bench.worktrees.remove_worktree(bench.repo, worktree, bench.base)
        assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
    assert (tmp_path / "home" / "photo").exists() and (tmp_path / "b2" / "readme.md").exists()
    assert bench.path.exists()


async def refused(bench: Bench) -> str:
    """Why the worktree is not removed; everything at its path is as it was."""
    before = sorted(os.listdir(bench.path)) if bench.path.is_dir() else None
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
    assert (sorted(os.listdir(bench.path)) if bench.path.is_dir() else None) == before
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) == bench.base
    return caught.value.message


async def test_a_worktree_that_was_made_again_by_hand_at_the_same_path_is_not_ours(bench: Bench) -> None:
    git(bench.repo.path, "worktree", "remove", "--force", str(bench.path))
    git(bench.repo.path, "worktree", "add", "-q", str(bench.path), bench.made.branch)
    assert dict(registered(bench.repo))[bench.made.git_dir] == bench.path
    assert "was not made by AgentPane" in await refused(bench)


async def test_another_repository_in_the_place_of_the_folder_is_not_ours(bench: Bench) -> None:
    shutil.rmtree(bench.path)
    git(bench.repo.path, "clone", "-q", ".", str(bench.path))
    (bench.path / "thesis").write_text("precious")
    assert "no .git file" in await refused(bench)
    (bench.path / ".git").rename(bench.path / "git")
    (bench.path / ".git").write_text(f"gitdir: {bench.path / 'git'}\n")
    assert "belongs to" in await refused(bench)


async def test_a_worktree_that_was_moved_with_git_is_found_and_stays(bench: Bench, tmp_path: Path) -> None:
    git(bench.repo.path, "worktree", "move", str(bench.path), str(tmp_path / "elsewhere"))
    assert str(tmp_path / "elsewhere") in await refused(bench)
    assert await bench.worktrees.moved_to(bench.repo, bench.made.worktree) == tmp_path / "elsewhere"
    followed = replace(bench.made.worktree, path=tmp_path / "elsewhere")
    await bench.worktrees.remove_worktree(bench.repo, followed, bench.base)
    assert not (tmp_path / "elsewhere").exists()


async def test_a_worktree_without_our_mark_is_never_removed(bench: Bench) -> None:
    mark = bench.made.git_dir / MARK
    mark.write_text("somebody else's\n")
    assert "was not made by AgentPane" in await refused(bench)
    mark.unlink()
    mark.symlink_to(bench.path / "readme.md")
    assert "was not made by AgentPane" in await refused(bench)
    unmarked = replace(bench.made.worktree, mark="")
    mark.unlink()
    assert await bench.worktrees.why_not_ours(bench.repo, unmarked) is not None


async def test_a_branch_that_is_checked_out_elsewhere_or_was_made_again_is_kept(bench: Bench, tmp_path: Path) -> None:
    git(bench.repo.path, "worktree", "add", "-q", "--force", str(tmp_path / "theirs"), bench.made.branch)
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    assert str(tmp_path / "theirs") in caught.value.message and not bench.path.exists()
    (tmp_path / "theirs" / "new").write_text("x")
    mine = commit_all(tmp_path / "theirs")
    git(bench.repo.path, "worktree", "remove", str(tmp_path / "theirs"))
    with pytest.raises(AgentPaneError):
        await bench.worktrees.delete_branch(bench.repo, bench.made.branch, bench.base)
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) == mine


async def test_a_folder_beside_ours_and_a_worktree_inside_of_it_are_seen(bench: Bench) -> None:
    beside = bench.path.with_name("one-by-hand")
    beside.mkdir()
    (beside / "notes").write_text("mine")
    git(bench.path, "worktree", "add", "-q", "-b", "inner", str(bench.path / "deep" / "inner"))
    (inner,) = await bench.worktrees.worktrees_inside(bench.repo, bench.made.worktree)
    assert (inner.path, inner.branch) == (bench.path / "deep" / "inner", "inner")
    (inner.path / "draft").write_text("half a thought")
    kept = await bench.worktrees.recovery_snapshot(bench.repo, inner, "r1")
    assert kept is not None and "draft" in await bench.worktrees.list_tree(bench.repo, kept.sha, "")
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base)
    await bench.worktrees.close()
    assert (beside / "notes").read_text() == "mine"


async def test_links_are_not_followed(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo").write_text("x")
    (bench.path / "out").symlink_to(tmp_path / "precious")
    (bench.path / "closed").mkdir()
    (bench.path / "closed" / "file").write_text("x")
    (bench.path / "closed").chmod(0o500)
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    await bench.worktrees.close()
    assert (tmp_path / "precious" / "photo").exists()
    assert os.listdir(trash_folder(bench.repo)) == []


async def test_a_link_in_the_place_of_the_worktree_is_refused(bench: Bench, tmp_path: Path) -> None:
    os.rename(bench.path, tmp_path / "moved")
    bench.path.symlink_to(tmp_path / "moved")
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED
    assert (tmp_path / "moved" / "readme.md").exists()


async def test_trash_that_a_killed_engine_left_is_emptied(bench: Bench) -> None:
    left = trash_folder(bench.repo) / "deadbeefdeadbeef"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    await bench.worktrees.empty_trash(bench.repo)
    await bench.worktrees.close()
    assert not left.exists()


async def test_what_is_saved_while_it_is_kept_is_kept_too(bench: Bench) -> None:
    refs: list[str] = []

    async def keep(worktree: Worktree) -> None:
        kept = await bench.worktrees.recovery_snapshot(bench.repo, worktree, f"r{len(refs)}")
        refs.append(kept.sha if kept else "")

    late = Late(keep)
    (bench.path / "src" / "late.txt").write_text("saved by an editor")
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, late=late)
    assert not bench.path.exists() and git(bench.repo.path, "show", f"{refs[0]}:src/late.txt") == "saved by an editor"


@pytest.mark.parametrize("commits", [True, False])
async def test_what_is_committed_while_it_is_kept_is_kept_too_and_nothing_is_kept_twice(
    bench: Bench, commits: bool
) -> None:
    """On no branch, and of what was staged before: no file of the worktree changes by it."""
    git(bench.path, "checkout", "-q", "--detach")
    (bench.path / "new").write_text("x")
    git(bench.path, "add", "new")
    begun = (bench.made.git_dir / "index").stat().st_ctime_ns + 1
    refs: list[str] = []

    async def keep(worktree: Worktree) -> None:
        kept = await bench.worktrees.recovery_snapshot(bench.repo, worktree, f"r{len(refs)}", began=bench.base)
        refs.append(kept.ref if kept else "")

    await keep(bench.made.worktree)
    if commits:
        git(bench.path, "commit", "-q", "-m", "on no branch")
    head = git(bench.path, "rev-parse", "HEAD")
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, late=Late(keep, begun))
    held = git(bench.repo.path, "for-each-ref", "--format=%(refname)", f"--contains={head}", "refs/agentpane/recovery")
    assert held.split() == (refs[1:] if commits else refs) and len(refs) == (2 if commits else 1)


async def test_nothing_goes_when_what_was_saved_meanwhile_cannot_be_kept(bench: Bench) -> None:
    async def fail(worktree: Worktree) -> None:
        raise AgentPaneError(ErrorCode.STORE_FULL, "The disk is full.")

    late = Late(fail)
    (bench.path / "late.txt").write_text("saved by an editor")
    with pytest.raises(AgentPaneError, match="disk is full"):
        await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, bench.base, late)
    assert (bench.path / "late.txt").read_text() == "saved by an editor"
    assert await bench.worktrees.branch_tip(bench.repo, bench.made.branch) == bench.base
    await bench.worktrees.remove_worktree(bench.repo, bench.made.worktree, late=Late(fail, time.time_ns() + 10**9))
    assert not bench.path.exists()


async def test_the_trash_keeps_what_a_removal_that_was_cut_off_may_get_back(bench: Bench) -> None:
    left = trash_folder(bench.repo) / "0123456789abcdef"
    left.parent.mkdir(parents=True)
    bench.path.rename(left)
    await bench.worktrees.empty_trash(bench.repo)
    await bench.worktrees.settled()
    assert await bench.worktrees.inspection.trash(bench.repo, bench.path.parent) == ()
    assert await bench.worktrees.put_back(bench.repo, bench.made.worktree)
    assert (bench.path / "readme.md").exists()


async def test_a_planted_trash_leads_nowhere(bench: Bench, tmp_path: Path) -> None:
    precious = tmp_path / "precious" / "0123456789abcdef"
    precious.mkdir(parents=True)
    (precious / "photo").write_text("x")
    (trash_folder(bench.repo) / "by-hand").mkdir(parents=True)
    (trash_folder(bench.repo) / "fedcba9876543210").symlink_to(precious)
    await bench.worktrees.empty_trash(bench.repo)
    shutil.rmtree(trash_folder(bench.repo))
    trash_folder(bench.repo).symlink_to(tmp_path / "precious")
    await bench.worktrees.empty_trash(bench.repo)
    assert await bench.worktrees.inspection.trash(bench.repo, bench.path.parent) == ()
    assert "link leads" in await refused(bench)
    await bench.worktrees.close()
    assert (precious / "photo").exists() and os.listdir(tmp_path / "precious") == ["0123456789abcdef"]


async def test_a_record_of_somebody_elses_worktree_is_not_taken_over(bench: Bench) -> None:
    git(bench.repo.path, "worktree", "remove", "--force", str(bench.path))
    git(bench.repo.path, "worktree", "add", "-q", "-b", "theirs", str(bench.path))
    os.rename(bench.path, bench.path.with_name("on-a-stick"))
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.attach_worktree(bench.repo, bench.path, bench.made.branch, (), bench.made.mark)
    assert caught.value.code is ErrorCode.WORKTREE_CREATION_FAILED
    os.rename(bench.path.with_name("on-a-stick"), bench.path)
    assert git(bench.path, "branch", "--show-current") == "theirs"


async def test_recovery_keeps_tracked_untracked_and_listed_ignored_files(bench: Bench) -> None:
    (bench.path / ".gitignore").write_text("*.log\n.env\ncache/\n")
    (bench.path / "readme.md").write_text("edited")
    (bench.path / "run.sh").unlink()
    (bench.path / ".env").write_text("KEY=1")
    (bench.path / "x.log").write_text("not listed")
    (bench.path / "cache").mkdir()
    (bench.path / "cache" / "a").write_text("1")
    nested = bench.path / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    (nested / "work").write_text("precious")
    status, index = git(bench.path, "status", "--porcelain"), (bench.made.git_dir / "index").read_bytes()
    kept = await bench.worktrees.recovery_snapshot(
        bench.repo, bench.made.worktree, "r1", (".env", "cache", "../outside", "gone")
    )
    assert kept is not None and kept.ref == "refs/agentpane/recovery/r1"
    assert git(bench.repo.path, "rev-parse", kept.ref) == kept.sha
    assert await bench.worktrees.list_tree(bench.repo, kept.sha, "") == (
        ".env", ".gitignore", "cache/a", "nested/work", "readme.md", "src/app.py",
    )  # fmt: skip
    assert git(bench.path, "rev-parse", "HEAD") == bench.base == git(bench.path, "rev-parse", f"{kept.sha}^")
    assert (bench.made.git_dir / "index").read_bytes() == index
    assert git(bench.path, "status", "--porcelain") == status


async def test_there_is_nothing_to_recover_where_nothing_differs(bench: Bench) -> None:
    assert await bench.worktrees.recovery_snapshot(bench.repo, bench.path, "r1") is None
    (bench.path / "new").write_text("x")
    assert isinstance(await bench.worktrees.recovery_snapshot(bench.repo, bench.path, "r1"), Recovery)
    lone = git(bench.repo.path, "commit-tree", "main^{tree}", "-m", "as main was before it was amended")
    ready = bench.path.with_name("ready")
    git(bench.repo.path, "worktree", "add", "-q", "--detach", str(ready), lone)
    assert await bench.worktrees.recovery_snapshot(bench.repo, ready, "r2", began=lone) is None
    assert isinstance(await bench.worktrees.recovery_snapshot(bench.repo, ready, "r2", began=bench.base), Recovery)


async def test_a_checkout_that_was_cut_off_deletes_nothing_and_what_somebody_wrote_there_is_kept(bench: Bench) -> None:
    (bench.made.git_dir / "index").unlink()  # git writes it last
    (bench.path / "run.sh").unlink()
    app = (bench.path / "src" / "app.py").read_bytes()
    (bench.path / "src" / "app.py").write_bytes(app[: len(app) // 2])
    half = bench.made.worktree
    assert await bench.worktrees.recovery_snapshot(bench.repo, half, "r1", whole=False) is None
    (bench.path / "mine").write_text("x")
    (bench.path / "readme.md").write_text("y")
    kept = await bench.worktrees.recovery_snapshot(bench.repo, half, "r1", whole=False)
    assert kept is not None and kept.files == 2
    assert git(bench.path, "diff", "--name-only", f"{kept.sha}^", kept.sha).split() == ["mine", "readme.md"]


async def test_recovery_of_what_is_no_worktree_says_so(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(AgentPaneError) as caught:
        await bench.worktrees.recovery_snapshot(bench.repo, tmp_path, "r1")
    assert caught.value.code is ErrorCode.WORKTREE_NOT_FOUND


async def test_worktrees_are_listed_with_their_state(bench: Bench, worktrees: Worktrees, tmp_path: Path) -> None:
    git(bench.repo.path, "worktree", "add", "-q", "--detach", str(tmp_path / "with\nnewline"))
    listed = await worktrees.list_worktrees(bench.repo)
    assert [(one.path.name, one.branch, one.head == bench.base) for one in listed] == [
        ("repo", "main", True), ("one", "agentpane/one-abc123", True), ("with\nnewline", None, True),
    ]  # fmt: skip
