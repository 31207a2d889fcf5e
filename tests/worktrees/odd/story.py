"""A card's whole story with git, told on any repository; and gits that may do less than whoever runs the tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agentpane.worktrees import (
    CreatedWorktree,
    Merged,
    MergeOutcome,
    MergePlan,
    Recovery,
    Repository,
    Snapshot,
    Undone,
    UndoPlan,
    WorktreePlan,
    Worktrees,
    turn_ref,
)
from tests.worktrees.conftest import Journal, git, git_bytes

Agent = Callable[[Path], None]


@dataclass
class Card:
    """A card of a repository, as far as git is concerned."""

    git: Worktrees
    repo: Repository
    branch: str
    base: str
    made: CreatedWorktree

    async def snapshot(self) -> Snapshot:
        run = f"run-{self.made.path.name}"
        made = await self.git.snapshot(self.repo, self.made.worktree, self.base, run, "Snapshot\n")
        assert isinstance(made, Snapshot), made
        return made

    async def merge(self, snapshot: Snapshot, strategy: str = "merge") -> MergeOutcome:
        run = f"run-{self.made.path.name}"
        plan = MergePlan(self.branch, snapshot.sha, run, strategy, "Merge\n", self.base)
        return await self.git.merge(self.repo, plan, Journal())


async def card_of(worktrees: Worktrees, repo: Repository, base: str | None = None, name: str = "one") -> Card:
    tip = await worktrees.base_branch(repo, base)
    root = (repo.path.parent if repo.bare else repo.path) / ".worktrees"
    plan = WorktreePlan(root / name, f"agentpane/{name}", tip.sha, (), f"mark-{name}")
    return Card(worktrees, repo, tip.branch, tip.sha, await worktrees.create_worktree(repo, plan))


def persons(folder: Path) -> tuple[str, dict[Path, bytes | None]]:
    """What a checkout holds that is not committed, and every file of it, links as what they name."""
    files: dict[Path, bytes | None] = {}
    for path in sorted(folder.rglob("*")):
        if not {".git", ".worktrees"} & set(path.relative_to(folder).parts) and not path.is_dir():
            files[path] = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    return git(folder, "status", "--porcelain", "-z"), files


def named(where: Path, base: str, commit: str) -> list[str]:
    """The paths that differ between two commits, as plain git tells them."""
    shape = ("--no-replace-objects", "diff", "--name-only", "-z", base, commit)
    return [os.fsdecode(name) for name in git_bytes(where, *shape).split(b"\0")[:-1]]


async def told(card: Card, agent: Agent, checkout: Path | None) -> tuple[str, ...]:
    """Work, a turn, a snapshot, its diff, foresight, a merge, its undo, a merge once more, and a cancel that keeps what
    there is. Returns the paths of the diff. checkout: where the person has the target checked out.
    """
    work, repo, path = card.git, card.repo, card.made.path
    agent(path)
    held = await work.turn_tree(repo, card.made.worktree, card.base)
    await work.keep_turn(repo, card.base, card.base, held.tree, turn_ref("run", 1))
    snapshot = await card.snapshot()
    assert snapshot.tree == held.tree
    paths = tuple(file.path for file in await work.diff_files(repo, card.base, snapshot.sha))
    patch = b"".join([part async for part in work.diff_patch(repo, card.base, snapshot.sha)])
    where = checkout or repo.path
    assert patch and paths == tuple(named(where, card.base, snapshot.sha))
    assert not await work.conflicts(repo, card.base, snapshot.sha)
    before = None if checkout is None else persons(checkout)
    merged = await card.merge(snapshot)
    assert isinstance(merged, Merged), merged
    expected = git(where, "merge-tree", "--write-tree", card.base, snapshot.sha).split()[0]
    assert git(where, "--no-replace-objects", "rev-parse", f"refs/heads/{card.branch}^{{tree}}") == expected
    plan = UndoPlan(
        card.branch, merged.old_target, merged.commit, snapshot.sha, f"run-{path.name}", "Revert\n", "Again\n"
    )
    undone = await work.undo(repo, plan, Journal())
    assert isinstance(undone, Undone) and undone.exact, undone
    assert git(where, "rev-parse", f"refs/heads/{card.branch}") == card.base
    assert checkout is None or persons(checkout) == before
    assert isinstance(await card.merge(snapshot, "squash"), Merged)
    if checkout is not None and before is not None:
        assert persons(checkout)[0] == before[0]
    kept = await cancelled(card, snapshot.sha)
    assert git_bytes(where, "show", f"{kept.sha}:left over") == b"not committed\r\n"
    return paths


async def cancelled(card: Card, tip: str) -> Recovery:
    (card.made.path / "left over").write_bytes(b"not committed\r\n")
    kept = await card.git.recovery_snapshot(card.repo, card.made.worktree, f"kept-{card.made.path.name}")
    assert kept is not None
    await card.git.remove_worktree(card.repo, card.made.worktree, tip)
    await card.git.settled()
    assert not card.made.path.exists() and await card.git.branch_tip(card.repo, card.made.branch) is None
    return kept


async def handed_over(worktrees: Worktrees, repo: Repository, base: str) -> None:
    """A worktree that was kept ready serves a card, where refs are files; it is taken away again."""
    root = (repo.path.parent if repo.bare else repo.path) / ".worktrees"
    ready = await worktrees.ready.make(repo, root / "ready", base, "mark-ready")
    assert await worktrees.ready.is_untouched(repo, ready)
    branch = await worktrees.ready.free_branch(repo, "agentpane/two")
    assert branch is not None
    card = await worktrees.ready.hand_over(repo, ready, base, root / "two", branch)
    assert card is not None
    await worktrees.remove_worktree(repo, card, base)


def bound_by_modes(place: Path) -> str:
    """A git that the modes of files hold for, root's too."""
    wrapper = place / "git-bound-by-modes"
    bound = "" if os.getuid() else "setpriv --bounding-set=-dac_override,-dac_read_search "
    wrapper.write_text(f'#!/bin/sh\nexec {bound}git "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)


def short_of_room(place: Path, blocks: int) -> str:
    """A git that can write no file longer than `blocks` of 512 bytes once the switch is there, as on a full disk."""
    wrapper = place / "git-short-of-room"
    limit = f"trap '' XFSZ; ulimit -f {blocks}"
    wrapper.write_text(f'#!/bin/sh\n[ -e {place}/full ] && {{ {limit}; }}\nexec git "$@"\n')
    wrapper.chmod(0o755)
    return str(wrapper)
