"""Whatever a person has where a move of their checkout would write: it stays as it is, or nothing is moved."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from agentpane.errors import ErrorCode
from agentpane.worktrees import (
    Merged,
    MergePlan,
    MergeRefused,
    Repository,
    Undone,
    UndoPlan,
    Worktrees,
    reviewed_ref,
)
from tests.worktrees.conftest import Journal, git, git_bytes
from tests.worktrees.histories import Tree, stream_of
from tests.worktrees.in_the_way import MOVES, PLAIN, THINGS, Disk, Thing, disk, expected

OLD, NEW = "refs/test/old", "refs/test/new"
BACK_OLD, BACK_NEW = "refs/test/back-old", "refs/test/back-new"


@dataclass(frozen=True, slots=True)
class Scene:
    """One repository for one thing and one move after the other."""

    worktrees: Worktrees
    repo: Repository
    outside: Path

    @classmethod
    async def make(cls, worktrees: Worktrees, folder: Path) -> Scene:
        repo = await worktrees.make_repository(folder / "repo", {"first": b"1\n"}, "First\n")
        (repo.git_dir / "info").mkdir(exist_ok=True)
        (repo.git_dir / "info/exclude").write_text("*.log\n")
        (folder / "outside").mkdir()
        return cls(worktrees, repo, folder / "outside")

    def stand_at(self, new: Tree, *, back: bool) -> tuple[str, str]:
        """Let the checkout hold PLAIN and nothing else. Returns the commit where it is, and the one to move to."""
        root = self.repo.path
        commits = ((NEW, new, None), (OLD, PLAIN, NEW)) if back else ((OLD, PLAIN, None), (NEW, new, OLD))
        git(root, "fast-import", "--quiet", "--force", stdin=stream_of(commits))
        old, to = ((root / ".git" / ref).read_text().strip() for ref in (OLD, NEW))
        for each in (*root.iterdir(), *self.outside.iterdir()):
            if each.is_dir() and not each.is_symlink():
                if each != root / ".git":
                    shutil.rmtree(each)
            else:
                each.unlink()
        for ref in ("refs/heads/main", reviewed_ref("run")):
            (root / ".git" / ref).parent.mkdir(parents=True, exist_ok=True)
            (root / ".git" / ref).write_text((old if back or ref.startswith("refs/heads") else to) + "\n")
        (root / ".git/index").unlink(missing_ok=True)
        git(root, "reset", "-q", "--hard", old)
        return old, to

    def state(self) -> tuple[Disk, Disk, bytes, bytes]:
        index = git_bytes(self.repo.path, "ls-files", "--stage", "-v")
        main = (self.repo.git_dir / "refs/heads/main").read_bytes()
        return disk(self.repo.path), disk(self.outside), index, main

    async def move(self, thing: Thing, new: Tree, *, back: bool) -> str:
        """Do the thing, then merge, or undo a merge. Returns what came of it."""
        old, to = self.stand_at(new, back=back)
        thing.do(self.repo.path, self.outside)
        before = self.state()
        if back:
            undone = await self.worktrees.undo(self.repo, UndoPlan("main", to, old, old, "run", "Back\n"), Journal())
            outcome = undone if isinstance(undone, MergeRefused) else "moved"
            assert isinstance(undone, MergeRefused | Undone)
        else:
            merged = await self.worktrees.merge(self.repo, MergePlan("main", to, "run", "ff", "", old), Journal())
            outcome = merged if isinstance(merged, MergeRefused) else "moved"
            assert isinstance(merged, MergeRefused | Merged), merged
        return self.judge(outcome, before, new)

    def judge(self, outcome: MergeRefused | str, before: tuple[Disk, Disk, bytes, bytes], new: Tree) -> str:
        after = self.state()
        if isinstance(outcome, MergeRefused):
            assert after == before, "refused, and something has changed"
            assert (outcome.code, bool(outcome.paths)) == (ErrorCode.MERGE_CHECKOUT_DIRTY, True), outcome
            assert "Nothing has been changed" in outcome.message and "taken back" not in outcome.message, outcome
            return "refused"
        assert after[1] == before[1], "what a link leads to has changed"
        own = {line for line in before[2].split(b"\n") if line.rpartition(b"\t")[2] not in PLAIN}
        assert own <= {*after[2].split(b"\n")}, "what was staged is not staged any more"
        wanted = expected(before[0], PLAIN, new)
        unlike = {path: (wanted.get(path), after[0].get(path)) for path in wanted.keys() | after[0].keys()}
        assert after[0] == wanted, {path: pair for path, pair in unlike.items() if pair[0] != pair[1]}
        assert (self.repo.git_dir / "refs/heads/main").read_text().strip() != before[3].decode().strip()
        return "moved"


async def play(scene: Scene, plays: Iterable[tuple[str, str, bool]]) -> Counter[str]:
    """Of each play a thing, a move, and whether it is an undo. Returns how many ended how."""
    ended, wrong = Counter[str](), []
    for name, move, back in plays:
        try:
            ended[await scene.move(THINGS[name], MOVES[move], back=back)] += 1
        except AssertionError as error:
            how = "an undo" if back else "a merge"
            wrong.append(f"{name}: {how} that {move}: {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)
    return ended


async def test_what_lies_in_the_way_of_a_move_stays_or_nothing_is_moved(worktrees: Worktrees, tmp_path: Path) -> None:
    pairs = [(name, move) for name, thing in THINGS.items() for move in (thing.on[0], thing.on[-1])]
    plays = ((name, move, number % 4 in {1, 2}) for number, (name, move) in enumerate(pairs))
    ended = await play(await Scene.make(worktrees, tmp_path), plays)
    assert min(ended["moved"], ended["refused"]) > 15, ended


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_whatever_lies_there_stays_in_every_move(worktrees: Worktrees, tmp_path: Path) -> None:
    await play(await Scene.make(worktrees, tmp_path), product(THINGS, MOVES, (False, True)))
