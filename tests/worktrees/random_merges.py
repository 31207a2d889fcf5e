"""One random merge at a time, judged by plain git in a clean clone and by what was on the person's disk before."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpane.errors import ErrorCode
from agentpane.worktrees import (
    Conflicted,
    Merged,
    MergePlan,
    MergeRefused,
    Repository,
    UndoPlan,
    Worktrees,
    reviewed_ref,
)
from agentpane.worktrees.values import Undone
from tests.worktrees.conftest import Journal, git, git_bytes
from tests.worktrees.histories import Case, apply, on_disk, parents, stream

Index = dict[bytes, bytes]  # mode, object and stage, by path
REWOUND, PACKED = 15, 6  # how many seeds there are to one of these


@dataclass(frozen=True, slots=True)
class State:
    """All that a merge may not change unless it says so."""

    disk: dict[bytes, tuple[str, bytes]]
    index: Index
    refs: dict[str, bytes]


@dataclass(slots=True)
class Trial:
    """A repository and a clean clone of it, used for one case after the other. counts: how each ended.

    Cases of one `autocrlf` that follow each other let the configuration be, and git is asked for it less often.
    """

    worktrees: Worktrees
    repo: Repository
    clone: Path
    counts: Counter[str] = field(default_factory=Counter)
    autocrlf: str = "false"
    _trees: dict[str, Index] = field(default_factory=dict)

    @classmethod
    async def make(cls, worktrees: Worktrees, folder: Path) -> Trial:
        repo = await worktrees.make_repository(folder / "repo", {"first": b"1\n"}, "First\n")
        git(repo.path, "checkout", "-q", "-b", "elsewhere")
        git(folder, "clone", "-q", "--shared", "--no-checkout", str(repo.path), "clone")
        return cls(worktrees, repo, folder / "clone")

    async def try_out(self, of: Case) -> None:
        """Raises AssertionError that names the seed."""
        try:
            await self._try(of)
        except AssertionError as error:
            raise AssertionError(f"seed {of.seed}: {error}") from error

    async def _try(self, of: Case) -> None:
        root, run = self.repo.path, f"case{of.seed}"
        base, old, agent = self._begin(of, run)
        expected = self._by_git(old, agent)
        touched = self._edit(of)
        before = self._state()
        blocking = before.disk.keys() - before.index.keys()
        way = set() if expected is None or not of.checked_out else self._in_the_way(old, expected[0], touched, blocking)
        lost = of.seed % REWOUND == 0 and agent != old  # the work began on a commit that the target has not got
        plan = MergePlan("main", agent, run, of.strategy, "Merge\n", agent if lost else base)
        outcome = await self.worktrees.merge(self.repo, plan, Journal())
        after = self._state()
        if lost:
            assert isinstance(outcome, MergeRefused) and outcome.code is ErrorCode.MERGE_BASE_MOVED, outcome
            assert after == before, f"a refusal has changed something: {_difference(before, after)}"
            return self._count("rewound")
        if isinstance(outcome, Conflicted):
            assert expected is None, f"a conflict that git does not see: {outcome.paths}"
            assert after == before, "a conflict has changed something"
            return self._count("conflicted")
        if isinstance(outcome, MergeRefused):
            assert expected is not None and way, (
                f"refused, and nothing was in the way: {outcome.message} {outcome.paths}"
            )
            assert after == before, f"a refusal has changed something: {_difference(before, after)}"
            return self._count("refused")
        assert isinstance(outcome, Merged), outcome
        assert expected is not None, "merged what git calls a conflict"
        assert not way, f"merged over what was in the way: {way}"
        tree, disk = expected
        assert git(root, "rev-parse", "main^{tree}") == tree, "another tree than git's"
        self._check_kept(of, before, after, old, tree, disk, touched)
        if of.seed % 4 == 1 and of.strategy != "squash":
            await self._again(plan, outcome, after)
        if not touched & self._tree(old).keys() - self._tree(tree).keys():  # else a deletion of theirs is part of it
            await self._and_back(of, before, outcome, plan)
        return self._count("merged" if of.checked_out else "merged, checked out nowhere")

    def _begin(self, of: Case, run: str) -> list[str]:
        """Set the checkout to the person's side, or to another branch, with nothing of the last case left.

        Returns the commits: where both sides began, the person's, the agent's. Every so often they are in a pack.
        """
        root = self.repo.path
        for folder in (root, self.clone) if of.autocrlf != self.autocrlf else ():
            git(folder, "config", "core.autocrlf", of.autocrlf)
        self.autocrlf = of.autocrlf
        head = root / ".git" / "HEAD"
        head.write_text("ref: refs/heads/elsewhere\n")
        refs = ("refs/heads/elsewhere", "refs/heads/main", reviewed_ref(run))
        limit = f"fastimport.unpackLimit={0 if of.seed % PACKED == 0 else 100}"
        git(root, "-c", limit, "fast-import", "--quiet", "--force", stdin=stream(of, refs))
        if of.checked_out:
            head.write_text("ref: refs/heads/main\n")
        _set_to(root, "HEAD")
        self._trees.clear()
        return [self._tip(ref) for ref in refs]

    def _tip(self, ref: str) -> str:
        return (self.repo.path / ".git" / ref).read_text().strip()

    def _by_git(self, old: str, agent: str) -> tuple[str, dict[bytes, tuple[str, bytes]]] | None:
        """What plain git makes of it: the tree, and the files in its checkout. None when it finds a conflict."""
        (self.clone / ".git" / "MERGE_HEAD").unlink(missing_ok=True)
        _set_to(self.clone, old)
        git(self.clone, "merge", "-q", "--no-ff", "--no-edit", agent, check=False)
        if (self.clone / ".git" / "MERGE_HEAD").exists():
            return None
        held = agent == old  # both sides have made the same of it
        second, tree = git(self.clone, "rev-parse", "HEAD" if held else "HEAD^2", "HEAD^{tree}").splitlines()
        assert second == agent
        return tree, on_disk(self.clone)

    def _edit(self, of: Case) -> set[bytes]:
        """Work in the checkout. Returns the tracked paths that differ from HEAD by it."""
        root = self.repo.path
        added = [e.path for e in of.edits if apply(e, os.fsencode(root)) and e.add]
        for path in dict.fromkeys(added):
            git(root, "--literal-pathspecs", "add", "-A", "-f", "--", path, check=False)
        listed = git_bytes(root, "status", "--porcelain", "-z", "--no-renames", "-uall", "--ignored=matching").split(
            b"\0"
        )
        return {line[3:] for line in listed if line and line[:2] not in {b"??", b"!!"}}

    def _state(self) -> State:
        root = self.repo.path
        entries = (line.split(b"\t", 1) for line in git_bytes(root, "ls-files", "--stage", "-z").split(b"\0")[:-1])
        named = [each for each in (root / ".git" / "refs").rglob("*") if each.is_file()]
        refs = {str(each): each.read_bytes() for each in (*named, *(root / ".git").glob("packed-refs"))}
        return State(on_disk(root), {path: about for about, path in entries}, refs)

    def _tree(self, name: str) -> Index:
        if name not in self._trees:
            self._trees[name] = self._read_tree(name)
        return self._trees[name]

    def _read_tree(self, name: str) -> Index:
        lines = git_bytes(self.clone, "ls-tree", "-r", "-z", "--full-tree", name).split(b"\0")[:-1]
        split = (line.split(b"\t", 1) for line in lines)
        return {path: b"%s %s 0" % (about.split()[0], about.split()[2]) for about, path in split}

    def _in_the_way(self, old: str, tree: str, touched: set[bytes], others: set[bytes]) -> set[bytes]:
        """The person's paths that the merge would have to write over."""
        before, after = self._tree(old), self._tree(tree)
        changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        disk = set(on_disk(self.repo.path))
        absent = {path for path in changed & touched if path not in after and path not in disk}
        gone = {path for path in absent if disk.isdisjoint(parents(path))}  # else a link lies in its folder's place
        written = {path for path in changed if path in after}
        theirs = touched | others
        above = {parent for path in written for parent in parents(path)}
        below = {path for path in theirs if written & set(parents(path))}
        return ((changed & theirs) | (theirs & above) | below) - gone

    def _check_kept(
        self, of: Case, before: State, after: State, old: str, tree: str,
        disk: dict[bytes, tuple[str, bytes]], touched: set[bytes],
    ) -> None:  # fmt: skip
        if not of.checked_out:
            assert (after.disk, after.index) == (before.disk, before.index), "a checkout of another branch has changed"
            return
        head = self._tree(old)
        mine = {path: about for path, about in before.index.items() if head.get(path) != about}
        dropped = head.keys() - before.index.keys()
        index = {path: about for path, about in {**self._tree(tree), **mine}.items() if path not in dropped}
        assert after.index == index, f"the index: {_differing(index, after.index)}"
        own = {path for path in before.disk if path in touched or path not in before.index}
        files = {path: what for path, what in disk.items() if path not in touched}
        files |= {path: before.disk[path] for path in own}
        assert after.disk == files, f"the files: {_differing(files, after.disk)}"

    async def _again(self, plan: MergePlan, merged: Merged, after: State) -> None:
        """What the target holds already is merged by doing nothing."""
        again = await self.worktrees.merge(self.repo, plan, Journal())
        assert again == Merged(merged.commit, merged.commit, merged.tree), f"merged twice: {again}"
        assert self._state() == after, "merged already, and something has changed"

    async def _and_back(self, of: Case, before: State, merged: Merged, done: MergePlan) -> None:
        """Undone at once, everything is as it was before; tried with every other case."""
        if of.seed % 2 or merged.commit == merged.old_target:
            return
        plan = UndoPlan("main", merged.old_target, merged.commit, done.reviewed, done.run_id, "Back", "Again\n")
        undone = await self.worktrees.undo(self.repo, plan, Journal())
        assert isinstance(undone, Undone) and undone.exact, f"not undone: {undone}"
        back = self._state()
        assert back == before, f"undone, and not as it was: {_difference(before, back)}"

    def _count(self, how: str) -> None:
        self.counts[how] += 1


def _set_to(folder: Path, commit: str) -> None:
    """Nothing but the files of a commit."""
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            if each.name != ".git":
                shutil.rmtree(each)
        else:
            each.unlink()
    git(folder, "reset", "-q", "--hard", commit)


def _differing(a: Mapping[bytes, object], b: Mapping[bytes, object]) -> list[tuple[bytes, object, object]]:
    return [(path, a.get(path), b.get(path)) for path in sorted(a.keys() | b.keys()) if a.get(path) != b.get(path)][:5]


def _difference(a: State, b: State) -> object:
    return _differing(a.disk, b.disk), _differing(a.index, b.index), a.refs == b.refs
