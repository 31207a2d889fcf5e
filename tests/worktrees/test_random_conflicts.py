"""Random conflicts: laid out whole, refused until all of it is decided, and then merged cleanly."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from agentpane.domain.resolving import CARD_LABEL, LaidPath, Layout, Merging, Resolver, Stage
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.worktrees import CreatedWorktree, Repository, Snapshot, WorktreePlan, Worktrees
from tests.worktrees.conftest import git
from tests.worktrees.histories import case, stream

SEEDED = 16
LONG = 300


async def made(worktrees: Worktrees, folder: Path) -> tuple[Repository, CreatedWorktree]:
    repo = await worktrees.make_repository(folder / "repo", {"first": b"1\n"}, "First\n")
    git(repo.path, "checkout", "-q", "-b", "elsewhere")
    base = git(repo.path, "rev-parse", "HEAD")
    return repo, await worktrees.create_worktree(repo, WorktreePlan(folder / "one", "agentpane/one-abc123", base))


async def try_out(worktrees: Worktrees, repo: Repository, work: CreatedWorktree, seed: int) -> Counter[str]:
    """The layouts that a case had; empty where nothing conflicts."""
    of = case(seed)
    git(work.path, "config", "core.autocrlf", of.autocrlf)
    refs = [f"refs/cases/{seed}/{name}" for name in ("base", "person", "agent")]
    git(repo.path, "fast-import", "--quiet", "--force", stdin=stream(of, refs))
    base, main, card = git(repo.path, "rev-parse", *refs).splitlines()
    git(work.path, "clean", "-q", "-f", "-f", "-d", "-x")
    git(work.path, "reset", "-q", "--hard", card)
    laid = await worktrees.lay_out_conflict(repo, card, main, "main", "run1")
    if laid is None:
        return Counter()
    merging = Merging("main", main, card, laid.laid, "run1", card, Resolver.PERSON, Stage.WRITTEN, laid.paths)

    async def keep(lost: tuple[str, ...]) -> None:
        assert not lost or set(lost) <= set(git(work.path, "ls-files", "-z").split("\0"))

    await worktrees.set_back(repo, work.worktree, laid.laid, (), keep)
    assert not await worktrees.differs(repo, work.worktree, laid.laid, ())
    with pytest.raises(AgentPaneError) as caught:
        await worktrees.snapshot(repo, work.worktree, base, "run1", "Taken\n", (), merging)
    assert caught.value.code is ErrorCode.MERGE_CONFLICT
    assert sorted(map(str, caught.value.details["paths"])) == sorted({each.beside or each.path for each in laid.paths})  # type: ignore[call-overload]
    for each in laid.paths:
        decide(work.path, each)
    taken = await worktrees.snapshot(repo, work.worktree, base, "run1", "Taken\n", (), merging)
    if isinstance(taken, Snapshot):
        assert git(repo.path, "rev-list", "--parents", "-n1", taken.sha).split()[1:] == [card, main]
        assert git(repo.path, "merge-tree", "--write-tree", main, taken.sha) == taken.tree
        assert not await worktrees.differs(repo, work.worktree, taken.sha, ())
    return Counter(each.layout.value for each in laid.paths)


def decide(root: Path, laid: LaidPath) -> None:
    """In favour of the card, wherever it has a say."""
    file = root / (laid.beside or laid.path)
    if laid.marked:
        file.write_bytes(without_markers(file.read_bytes()))
    if laid.layout in {Layout.BOTH, Layout.TARGET}:
        file.unlink()
    elif laid.layout is Layout.CARD:
        free = not os.path.lexists(root / laid.path)
        file.rename(root / (laid.path if free else f"{laid.path}.of-the-card"))


def without_markers(text: bytes) -> bytes:
    """The text with the card's side of each conflict."""
    kept: list[bytes] = []
    ours, within = True, False
    for line in text.split(b"\n"):
        bare = line.removesuffix(b"\r")
        if bare == b"<<<<<<< " + CARD_LABEL.encode():
            ours, within = True, True
        elif within and bare == b">>>>>>> main":
            ours, within = True, False
        elif within and bare.startswith(b"||||||| "):
            ours = False
        elif ours:
            kept.append(line)
    return b"\n".join(kept)


@pytest.mark.parametrize(
    "seeds",
    [range(SEEDED), pytest.param(range(SEEDED, LONG), marks=(pytest.mark.long, pytest.mark.timeout(600)))],
    ids=["seeded", "many"],
)
async def test_every_random_conflict_can_be_decided_and_then_merges_cleanly(
    worktrees: Worktrees, tmp_path: Path, seeds: range
) -> None:
    repo, work = await made(worktrees, tmp_path)
    seen: Counter[str] = Counter()
    for seed in seeds:
        seen += await try_out(worktrees, repo, work, seed)
    assert seen.keys() >= {"marked", "card", "target"} and sum(seen.values()) > len(seeds) / 4, seen
