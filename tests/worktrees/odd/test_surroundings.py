"""What the disk, permissions, locks and other hands do at each step is said in clear words, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import Merged, MergeRefused, Undone, UndoPlan, Worktrees
from tests.worktrees.conftest import Journal, commit_all, git
from tests.worktrees.odd.story import Card, bound_by_modes, cancelled, card_of, persons, short_of_room
from tests.worktrees.odd.test_kinds import fill, made

FILES = {"a.txt": b"1\n", "shut/b.txt": b"1\n", "z/c.txt": b"1\n", "mine.txt": b"1\n"}
WORK = {"a.txt": b"2\n", "shut/b.txt": b"2\n", "shut/new": b"2\n", "z/c.txt": b"2\n", "z/new": b"2\n"}
ROOM = 8  # blocks
ROOT = Path(__file__).parents[3]


def changed(card: Card, large: bool = False) -> None:
    fill(card.made.path, WORK)
    if large:
        (card.made.path / "z" / "large").write_bytes(os.urandom(ROOM * 2048))


async def ready(worktrees: Worktrees, folder: Path) -> Card:
    made(folder, FILES)
    fill(folder, {"mine.txt": b"the person's edit\n", "untracked": b"theirs\n"})
    return await card_of(worktrees, await worktrees.open_repository(folder))


def kept(card: Card) -> object:
    """The person's checkout, and every ref."""
    return persons(card.repo.path), git(card.repo.path, "for-each-ref"), git(card.repo.path, "rev-parse", "HEAD")


@pytest.fixture
async def bound(tmp_path: Path) -> AsyncIterator[Worktrees]:
    made = Worktrees(bound_by_modes(tmp_path))
    yield made
    await made.close()


@pytest.fixture
async def cramped(tmp_path: Path) -> AsyncIterator[Worktrees]:
    made = Worktrees(short_of_room(tmp_path, ROOM))
    yield made
    await made.close()


async def test_a_checkout_of_which_a_part_may_not_be_written_is_as_it_was_after_a_merge_and_an_undo(
    bound: Worktrees, tmp_path: Path
) -> None:
    card = await ready(bound, tmp_path / "repo")
    changed(card)
    snapshot = await card.snapshot()
    before, shut, heads = kept(card), card.repo.path / "shut", card.repo.common_dir / "refs" / "heads"
    heads.chmod(0o500)  # git finds that out when all files are written
    unmoved = await card.merge(snapshot)
    assert isinstance(unmoved, MergeRefused) and unmoved.code is ErrorCode.RESOURCE_LOCKED, unmoved
    assert "taken back" in unmoved.message and kept(card) == before
    heads.chmod(0o700)
    shut.chmod(0o500)
    refused = await card.merge(snapshot)
    assert isinstance(refused, MergeRefused) and refused.code is ErrorCode.RESOURCE_LOCKED, refused
    assert "shut" in refused.message and "Nothing has been changed" in refused.message and "writable" in refused.hint
    assert kept(card) == before
    shut.chmod(0o700)
    merged = await card.merge(snapshot)
    assert isinstance(merged, Merged)
    before = kept(card)
    shut.chmod(0o500)
    plan = UndoPlan("main", card.base, merged.commit, snapshot.sha, "run-one", "Revert\n", "Again\n")
    again = await bound.undo(card.repo, plan, Journal())
    assert isinstance(again, MergeRefused) and again.code is ErrorCode.RESOURCE_LOCKED, again
    assert kept(card) == before
    shut.chmod(0o700)
    heads.chmod(0o500)
    again = await bound.undo(card.repo, plan, Journal())
    assert isinstance(again, MergeRefused) and again.code is ErrorCode.RESOURCE_LOCKED, again
    assert kept(card) == before
    heads.chmod(0o700)
    assert isinstance(await bound.undo(card.repo, plan, Journal()), Undone)


async def test_a_file_that_the_agent_has_closed_is_named(bound: Worktrees, tmp_path: Path) -> None:
    card = await ready(bound, tmp_path / "repo")
    changed(card)
    (card.made.path / "a.txt").chmod(0)
    with pytest.raises(AgentPaneError) as caught:
        await card.snapshot()
    assert caught.value.code is ErrorCode.VALIDATION_ERROR and 'open("a.txt")' in caught.value.message
    (card.made.path / "a.txt").chmod(0o600)
    await card.snapshot()


async def test_a_disk_that_may_only_be_read_is_said_at_each_step(tmp_path: Path) -> None:
    folder, wrapper = tmp_path / "repo", tmp_path / "git-on-read-only"
    bound = f"bwrap --dev-bind / / --ro-bind {folder} {folder} --"
    wrapper.write_text(f'#!/bin/sh\n[ -e {tmp_path}/switch ] && exec {bound} git "$@"\nexec git "$@"\n')
    wrapper.chmod(0o755)
    worktrees = Worktrees(str(wrapper))
    card = await ready(worktrees, folder)
    changed(card)
    snapshot = await card.snapshot()
    before = kept(card)
    (tmp_path / "switch").touch()
    with pytest.raises(AgentPaneError) as caught:
        await card.merge(snapshot)
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED and "Read-only file system" in caught.value.message
    assert "hint:" not in caught.value.message
    with pytest.raises(AgentPaneError, match="may not be written"):
        await card_of(worktrees, card.repo, name="two")
    (card.made.path / "left").write_bytes(b"over\n")
    with pytest.raises(AgentPaneError) as caught:
        await card.snapshot()
    assert caught.value.code is ErrorCode.RESOURCE_LOCKED and "may not be written" in caught.value.message
    (tmp_path / "switch").unlink()
    assert kept(card) == before and not (folder / ".worktrees" / "two").exists()
    assert isinstance(await card.merge(snapshot), Merged)
    await worktrees.close()


async def test_a_repository_that_may_not_be_written_is_said_at_each_step(bound: Worktrees, tmp_path: Path) -> None:
    card = await ready(bound, tmp_path / "repo")
    changed(card)
    snapshot = await card.snapshot()
    (card.made.path / "left").write_bytes(b"over\n")
    before = kept(card)
    closed = [card.repo.common_dir, *(path for path in card.repo.common_dir.rglob("*") if path.is_dir())]
    for folder in closed:
        folder.chmod(0o500)
    try:
        refused = await card.merge(snapshot)
        assert isinstance(refused, MergeRefused) and refused.code is ErrorCode.RESOURCE_LOCKED, refused
        assert "may not be written" in refused.message and "Nothing has been changed" in refused.message
        steps = (
            card_of(bound, card.repo, name="two"),
            card.snapshot(),
            bound.recovery_snapshot(card.repo, card.made.worktree, "kept"),
        )
        for step in steps:
            with pytest.raises(AgentPaneError) as caught:
                await step
            assert caught.value.code in {ErrorCode.RESOURCE_LOCKED, ErrorCode.WORKTREE_CREATION_FAILED}
            assert "may not be written" in caught.value.message and "writable" in caught.value.hint
    finally:
        for folder in closed:
            folder.chmod(0o700)
    assert kept(card) == before and (card.made.path / "left").read_bytes() == b"over\n"
    assert not (card.repo.path / ".worktrees" / "two").exists()
    await cancelled(card, snapshot.sha)


@pytest.mark.long
async def test_a_disk_that_is_full_is_said_at_each_step_and_a_merge_is_taken_back(
    cramped: Worktrees, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    card = await ready(cramped, tmp_path / "repo")
    changed(card, large=True)
    before = kept(card)

    async def refused(code: ErrorCode, step: object) -> None:
        full.touch()
        with pytest.raises(AgentPaneError) as caught:
            await step  # type: ignore[misc]
        assert caught.value.code is code and "The disk is full" in caught.value.message, caught.value
        assert kept(card) == before
        full.unlink()

    await refused(ErrorCode.STORE_FULL, card.snapshot())
    await refused(ErrorCode.STORE_FULL, cramped.recovery_snapshot(card.repo, card.made.worktree, "kept"))
    snapshot = await card.snapshot()
    before = kept(card)
    full.touch()
    stopped = await card.merge(snapshot)
    assert isinstance(stopped, MergeRefused) and stopped.code is ErrorCode.STORE_FULL, stopped
    assert "taken back" in stopped.message and kept(card) == before
    full.unlink()
    assert isinstance(await card.merge(snapshot), Merged)
    git(card.repo.path, "branch", "-f", "large", "main")
    before = kept(card)
    await refused(ErrorCode.WORKTREE_CREATION_FAILED, card_of(cramped, card.repo, "large", "two"))
    assert not (card.repo.path / ".worktrees" / "two").exists()
    await cancelled(card, snapshot.sha)


async def test_on_a_disk_that_is_really_full_each_step_says_so_and_nothing_of_the_persons_is_touched(
    tmp_path: Path,
) -> None:
    top = tmp_path / "disk"
    top.mkdir()
    disk = ("bwrap", "--dev-bind", "/", "/", "--size", "4000000", "--tmpfs", str(top), "--")
    story = (sys.executable, "-m", "tests.worktrees.odd.on_a_small_disk", str(top))
    process = await asyncio.create_subprocess_exec(
        *disk, *story, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    told = json.loads(out)
    assert told.pop("undo") == ["Undone"]  # it makes room
    assert told.pop("create")[0] == ErrorCode.WORKTREE_CREATION_FAILED
    assert {step: said[0] for step, said in told.items()} == dict.fromkeys(
        ("snapshot", "recovery", "merge", "checkout"), ErrorCode.STORE_FULL
    )
    assert all("The disk is full" in said[1] and "Make room" in said[2] for said in told.values()), told


@pytest.mark.parametrize(
    "lock", ["refs/heads/main.lock", pytest.param("HEAD.lock", marks=pytest.mark.long), "index.lock"]
)
async def test_a_lock_that_was_left_is_named_before_anything_is_written(
    worktrees: Worktrees, tmp_path: Path, lock: str
) -> None:
    card = await ready(worktrees, tmp_path / "repo")
    changed(card)
    for other in ("config.lock", "worktrees/one/index.lock"):  # these stop nobody
        (card.repo.common_dir / other).touch()
    snapshot = await card.snapshot()
    before, left = kept(card), card.repo.common_dir / lock
    left.touch()
    refused = await card.merge(snapshot)
    assert isinstance(refused, MergeRefused) and refused.code is ErrorCode.RESOURCE_LOCKED
    assert refused.paths == (str(left),) and "Nothing has been changed" in refused.message
    assert left.exists() and kept(card) == before
    left.unlink()
    assert isinstance(await card.merge(snapshot), Merged)


async def test_a_lock_on_packed_refs_keeps_the_branch_and_says_so(worktrees: Worktrees, tmp_path: Path) -> None:
    card = await ready(worktrees, tmp_path / "repo")
    git(card.repo.path, "pack-refs", "--all")
    (card.repo.common_dir / "packed-refs.lock").touch()
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.remove_worktree(card.repo, card.made.worktree, card.base)
    assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and "packed-refs.lock" in caught.value.message
    assert "has changed" not in caught.value.message
    assert await worktrees.branch_tip(card.repo, card.made.branch) == card.base


async def test_what_others_do_to_branches_and_folders_meanwhile(worktrees: Worktrees, tmp_path: Path) -> None:
    card = await ready(worktrees, tmp_path / "repo")
    folder, path, branch = card.repo.path, card.made.path, card.made.branch
    changed(card)
    first = await card.snapshot()
    # The card's branch is renamed: its next snapshot makes it anew, on top of what was there.
    git(folder, "branch", "-m", branch, "renamed")
    git(path, "symbolic-ref", "HEAD", "refs/heads/renamed")
    (path / "more").write_bytes(b"more\n")
    second = await card.snapshot()
    assert git(folder, "rev-parse", f"{branch}^", "renamed").split() == [first.sha, first.sha]
    # It is deleted, and moved by force to somewhere else: what was reviewed is still pinned, and that is merged.
    git(folder, "update-ref", "-d", f"refs/heads/{branch}")
    git(folder, "gc", "--prune=now", "--quiet")
    git(folder, "update-ref", f"refs/heads/{branch}", card.base)
    # The base branch is renamed, rewound, and back.
    git(folder, "branch", "-m", "main", "trunk")
    gone = await card.merge(second)
    assert isinstance(gone, MergeRefused) and gone.code is ErrorCode.MERGE_BASE_MOVED and "'main'" in gone.message
    git(folder, "branch", "-m", "trunk", "main")
    git(folder, "stash", "-q", "-u")
    git(folder, "checkout", "-q", "--orphan", "other")
    git(folder, "commit", "-q", "-m", "another history")
    git(folder, "checkout", "-q", "-B", "main")
    rewound = await card.merge(second)
    assert isinstance(rewound, MergeRefused) and rewound.code is ErrorCode.MERGE_BASE_MOVED
    assert "rewound" in rewound.message and "Nothing has been changed" in rewound.message
    git(folder, "reset", "-q", "--hard", card.base)
    git(folder, "stash", "pop", "-q")
    assert isinstance(await card.merge(second), Merged)
    assert (folder / "mine.txt").read_bytes() == b"the person's edit\n" and (folder / "more").exists()


async def test_a_repository_that_is_moved_and_comes_back_and_a_worktree_that_is_replaced(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    card = await ready(worktrees, tmp_path / "repo")
    changed(card)
    snapshot = await card.snapshot()
    card.repo.path.rename(tmp_path / "away")
    for step in (card.snapshot(), card.merge(snapshot), card_of(worktrees, card.repo, "main", "two")):
        with pytest.raises(AgentPaneError) as caught:
            outcome = await step
            assert isinstance(outcome, MergeRefused), outcome
            raise AgentPaneError(outcome.code, outcome.message, outcome.hint)
        assert caught.value.code is not ErrorCode.INTERNAL, caught.value
    assert not card.repo.path.exists(), "nothing was made where it had been"
    (tmp_path / "away").rename(card.repo.path)
    path = card.made.path
    path.rename(tmp_path / "aside")
    for replaced in ("nothing", "a file", "a link", "a folder"):
        if replaced == "a file":
            path.write_bytes(b"theirs\n")
        elif replaced == "a link":
            path.symlink_to(tmp_path / "aside")
        elif replaced == "a folder":
            fill(path, {"theirs": b"precious\n"})
        for step in (card.snapshot(), worktrees.recovery_snapshot(card.repo, card.made.worktree, "kept")):
            if replaced == "a folder":
                step.close()
                continue
            with pytest.raises(AgentPaneError) as caught:
                await step
            assert caught.value.code is ErrorCode.WORKTREE_NOT_FOUND
        if replaced != "nothing":
            with pytest.raises(AgentPaneError) as caught:
                await worktrees.remove_worktree(card.repo, card.made.worktree, snapshot.sha)
            assert caught.value.code is ErrorCode.WORKTREE_REMOVAL_FAILED and os.path.lexists(path)
        if replaced == "a folder":
            assert (path / "theirs").read_bytes() == b"precious\n"
            shutil.rmtree(path)
        elif replaced != "nothing":
            path.unlink()
    (tmp_path / "aside").rename(path)
    assert isinstance(await card.merge(snapshot), Merged)
    await cancelled(card, snapshot.sha)


async def test_a_base_that_is_checked_out_in_another_worktree_keeps_the_edits_there(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    card = await ready(worktrees, tmp_path / "repo")
    changed(card)
    snapshot = await card.snapshot()
    folder, other = card.repo.path, tmp_path / "other"
    git(folder, "checkout", "-q", "-b", "elsewhere")
    git(folder, "worktree", "add", "-q", str(other), "main")
    fill(other, {"mine.txt": b"an edit there\n", "a.txt": b"1\nmine\n"})
    before = persons(folder), persons(other)
    dirty = await card.merge(snapshot)
    assert isinstance(dirty, MergeRefused) and dirty.paths == ("a.txt",) and str(other) in dirty.message
    assert (persons(folder), persons(other)) == before
    git(other, "checkout", "-q", "a.txt")
    assert isinstance(await card.merge(snapshot), Merged)
    assert (other / "mine.txt").read_bytes() == b"an edit there\n" and (other / "z/new").exists()
    assert persons(folder) == before[0]
    commit_all(other)
