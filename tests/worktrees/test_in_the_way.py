"""Whatever a person has where a move of their checkout would write: it stays as it is, or nothing is moved."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from agentpane.errors import ErrorCode
from agentpane.worktrees import (
    Merged,
    MergeIntent,
    MergePlan,
    MergeRefused,
    RecoveryOutcome,
    Repository,
    Undone,
    UndoPlan,
    Worktrees,
    reviewed_ref,
)
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.merging.checkout import place_of
from agentpane.worktrees.merging.obstacles import in_the_way
from tests.worktrees.conftest import Journal, git, git_bytes
from tests.worktrees.histories import Tree, stream_of
from tests.worktrees.in_the_way import MOVES, PLAIN, THINGS, Disk, Thing, disk, expected, laid_out

ROOT = Path(__file__).parents[2]
OLD, NEW = "refs/test/old", "refs/test/new"
MERGE, UNDO, FINISH, TAKE_BACK = "a merge", "an undo", "finishing a merge", "taking back a merge"
MODE_ALONE = "a file that may not be written"  # a mode is git's where it writes anew
HOLLOW = ("an empty folder in a file's place", "an empty folder in a new one's place")  # as git leaves it, cut off
LAID = [(name, thing) for name, thing in THINGS.items() if "staged" not in name and "not look" not in name]


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
        (folder / "outside").mkdir(parents=True)
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
            undone = await self.worktrees.undo(
                self.repo, UndoPlan("main", to, old, old, "run", "Back\n", "Again\n"), Journal()
            )
            outcome = undone if isinstance(undone, MergeRefused) else "moved"
            assert isinstance(undone, MergeRefused | Undone)
        else:
            merged = await self.worktrees.merge(self.repo, MergePlan("main", to, "run", "ff", "", old), Journal())
            outcome = merged if isinstance(merged, MergeRefused) else "moved"
            assert isinstance(merged, MergeRefused | Merged), merged
        return self.judge(outcome, before, new)

    async def settle(self, thing: Thing, new: Tree, *, wanted: bool) -> str:
        """Do the thing in a checkout in which a merge was cut off as it began, then settle that."""
        old, to = self.stand_at(new, back=False)
        thing.do(self.repo.path, self.outside)
        (self.repo.git_dir / "index.lock").touch()
        before = self.state()
        intent = MergeIntent("run", "main", old, to, to, self.repo.path, self.repo.git_dir)
        settled = await self.worktrees.recover_merge(self.repo, intent, wanted=wanted)
        after = self.state()
        assert after[1] == before[1], "what a link leads to has changed"
        (self.repo.git_dir / "index.lock").unlink(missing_ok=True)
        if settled.outcome is RecoveryOutcome.NEEDS_PERSON:
            assert after == before and settled.paths, "left to the person, and something has changed"
            return "left"
        finished = wanted and not settled.paths  # else it was taken back around what was put there
        assert settled.outcome is (RecoveryOutcome.COMPLETED if finished else RecoveryOutcome.ROLLED_BACK), settled
        assert finished or after[2:] == before[2:], "the index or the branch has changed"
        clean, target = laid_out(PLAIN), laid_out(new if finished else PLAIN)
        unlike = {
            path: (what, after[0].get(path))
            for path, what in before[0].items()
            if what != clean.get(path) and after[0].get(path) != what
        }
        assert not unlike, unlike
        changed = {path: what for path, what in target.items() if clean.get(path) != what}
        assert {path: after[0].get(path) for path in changed} == changed, "not finished"
        return "left" if settled.paths else "settled"

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


async def play(scene: Scene, plays: Iterable[tuple[str, str, str]]) -> Counter[str]:
    """Of each play a thing, a move, and how that is made. Returns how many ended how."""
    ended, wrong = Counter[str](), []
    for name, move, how in plays:
        thing, new = THINGS[name], MOVES[move]
        try:
            if how in {MERGE, UNDO}:
                ended[await scene.move(thing, new, back=how == UNDO)] += 1
            else:
                ended[await scene.settle(thing, new, wanted=how == FINISH)] += 1
        except AssertionError as error:
            wrong.append(f"{name}: {how} that {move}: {str(error).splitlines()[0]}")
    assert not wrong, "\n".join(wrong)
    return ended


async def test_what_lies_in_the_way_of_a_move_stays_or_nothing_is_moved(worktrees: Worktrees, tmp_path: Path) -> None:
    pairs = [(name, move) for name, thing in THINGS.items() for move in (thing.on[0], thing.on[-1])]
    plays = ((name, move, UNDO if number % 4 in {1, 2} else MERGE) for number, (name, move) in enumerate(pairs))
    ended = await play(await Scene.make(worktrees, tmp_path), plays)
    assert min(ended["moved"], ended["refused"]) > 15, ended


async def test_what_was_put_where_a_merge_was_cut_off_is_left_to_the_person(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    plays = ((name, thing.on[-1], FINISH if number % 3 else TAKE_BACK) for number, (name, thing) in enumerate(LAID))
    ended = await play(await Scene.make(worktrees, tmp_path), plays)
    assert min(ended["left"], ended["settled"]) > 2, ended


def folding(path: Path) -> os.stat_result | None:
    """What a disk that takes capital letters for small ones says of a path."""
    found = folded(path)
    return os.lstat(found) if os.path.lexists(found) else None


def folded(path: Path) -> Path:
    if path.name == "repo":
        return path
    parent = folded(path.parent)
    names = os.listdir(parent) if parent.is_dir() else []
    return parent / next((name for name in names if name.lower() == path.name.lower()), path.name)


async def test_a_name_that_only_changes_its_capital_letters_is_not_in_its_own_way(
    worktrees: Worktrees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = await Scene.make(worktrees, tmp_path)
    new = {path: entry for path, entry in PLAIN.items() if path not in {b"plain", b"src/app.py", b"a.txt"}}
    new |= {b"Plain": PLAIN[b"plain"], b"Src/app.py": PLAIN[b"src/app.py"], b"a": PLAIN[b"a.txt"]}
    old, to = scene.stand_at(new, back=False)
    (scene.repo.path / "A").write_text("the person's\n")
    monkeypatch.setattr("agentpane.worktrees.keeping.ground._lstat", folding)
    runner, place = GitRunner(), place_of(scene.repo, scene.repo.path, scene.repo.git_dir)
    try:
        assert await in_the_way(runner, scene.repo, place, old, to) == ("a",)
    finally:
        runner.close()


BOUND_BY_MODES = """
import asyncio, sys
from pathlib import Path
from agentpane.worktrees import MergePlan, Worktrees

async def main(path, commit):
    worktrees = Worktrees()
    async def journal(intent): pass
    outcome = await worktrees.merge(
        await worktrees.open_repository(Path(path)), MergePlan("main", commit, "run", "ff", "", None), journal
    )
    print(outcome.code, *outcome.paths)
    await worktrees.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nothing_is_left_undeleted_in_a_folder_that_may_not_be_written(
    worktrees: Worktrees, tmp_path: Path
) -> None:
    """Git would say that it has merged. Modes hold for root as well in a process that has dropped the right to pass."""
    scene = await Scene.make(worktrees, tmp_path)
    _, to = scene.stand_at(MOVES["deletes in a folder"], back=False)
    before = scene.state()
    (scene.repo.path / "src").chmod(0o555)
    drop = () if os.geteuid() else ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
    command = (*drop, sys.executable, "-c", BOUND_BY_MODES, str(scene.repo.path), to)
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    (scene.repo.path / "src").chmod(0o755)
    assert (done.stdout, scene.state()) == ("RESOURCE_LOCKED src\n", before), done.stderr


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_whatever_lies_there_stays_in_every_move(worktrees: Worktrees, tmp_path: Path) -> None:
    every = [name for name in THINGS if name != MODE_ALONE]
    await play(await Scene.make(worktrees, tmp_path), product(every, MOVES, (MERGE, UNDO)))
    laid = [name for name, _ in LAID if name not in {MODE_ALONE, *HOLLOW}]
    await play(await Scene.make(worktrees, tmp_path / "cut"), product(laid, MOVES, (FINISH, TAKE_BACK)))
