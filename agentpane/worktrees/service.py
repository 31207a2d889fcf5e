"""Everything that AgentPane does with git, behind one object.

It holds what calls share: the places for children, a lock a repository, and the folders still to delete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

from agentpane.domain.conflicts import Conflict
from agentpane.domain.diff import DiffStat, FileChange
from agentpane.domain.overlaps import FileEdit
from agentpane.domain.resolving import Merging
from agentpane.temporary import delete
from agentpane.worktrees import repository
from agentpane.worktrees.conflicts import conflicted, foresight, resolution
from agentpane.worktrees.git.runner import GitRunner
from agentpane.worktrees.inspection import Inspection
from agentpane.worktrees.keeping import lost_folder, recovery, restore
from agentpane.worktrees.merging import merge as merging
from agentpane.worktrees.merging import merge_recovery
from agentpane.worktrees.merging import scratch as scratches
from agentpane.worktrees.merging import undo as undoing
from agentpane.worktrees.snapshots import diffs, turns
from agentpane.worktrees.snapshots import snapshot as snapshots
from agentpane.worktrees.trees import create, identity, putting_back, remove
from agentpane.worktrees.trees.held import Held, held_by
from agentpane.worktrees.trees.pool import Ready
from agentpane.worktrees.values import (
    BranchTip,
    Conflicted,
    CreatedWorktree,
    ListedWorktree,
    Merged,
    MergeIntent,
    MergeOutcome,
    MergePlan,
    MergePreview,
    MergeRecovery,
    MergeRefused,
    NothingChanged,
    Recovery,
    Repository,
    Snapshot,
    TurnTaken,
    TurnTree,
    UndoOutcome,
    UndoPlan,
    Worktree,
    WorktreePlan,
)

MOMENT_S = 0.1


class Worktrees:
    """Git for the whole engine. Make one, and close it at the end."""

    def __init__(self, program: str = "git", at_once: int | None = None, noted: Path | None = None) -> None:
        self._git = GitRunner(program, at_once, noted)
        self.notes = self._git.notes
        self._locks: dict[Path, asyncio.Lock] = {}
        self.ready = Ready(self._git, self._lock)
        self._deletions: set[asyncio.Task[None]] = set()
        self._one_deletion = asyncio.Lock()
        self._at_once = asyncio.Event()  # deletions are waited for
        self._git_serves = False  # it is there and new enough
        self._filters: dict[Path, frozenset[str]] = {}

    async def close(self) -> None:
        await self.settled()
        self._git.close()

    async def settled(self) -> None:
        """Wait for deletions that are to come or under way."""
        self._at_once.set()
        if self._deletions:
            await asyncio.wait(self._deletions)
        self._at_once.clear()

    def _lock(self, repo: Repository) -> asyncio.Lock:
        return self._locks.setdefault(repo.common_dir, asyncio.Lock())

    async def check_git(self) -> str:
        """Git's version. Raises GIT_MISSING or GIT_TOO_OLD."""
        version = await repository.check_git(self._git)
        self._git_serves = True
        return version

    def allow_filters(self, path: Path, filters: frozenset[str]) -> None:
        """Which filters may run from now on for the repository that is opened at `path`."""
        self._filters[path] = filters

    async def open_repository(self, path: Path, allowed_filters: frozenset[str] | None = None) -> Repository:
        """Find and check the repository at `path`; see `repository.open_repository`.

        allowed_filters: None for those that were allowed for this path.
        Raises GIT_MISSING or GIT_TOO_OLD too.
        """
        if not self._git_serves:
            await self.check_git()
        allowed = self._filters.get(path, frozenset()) if allowed_filters is None else allowed_filters
        return await repository.open_repository(self._git, path, allowed)

    async def make_repository(
        self,
        path: Path,
        files: Mapping[str, bytes],
        message: str,
        branch: str = "main",
        executable: frozenset[str] = frozenset(),
    ) -> Repository:
        """Make a repository with these files as its first commit; see `repository.make_repository`."""
        if not self._git_serves:
            await self.check_git()
        return await repository.make_repository(self._git, path, files, message, branch, executable)

    async def base_branch(self, repo: Repository, wanted: str | None) -> BranchTip:
        """The branch that work starts from. Raises VALIDATION_ERROR for the field base_branch."""
        return await repository.base_branch(self._git, repo, wanted)

    async def branch_tip(self, repo: Repository, branch: str) -> str | None:
        """The commit that a local branch names; None when there is no such branch."""
        return await repository.branch_tip(self._git, repo, branch)

    async def restore_branch(self, repo: Repository, branch: str, commit: str) -> None:
        """Make a branch that is gone name `commit` again; one that has come back meanwhile is left as it is."""
        await repository.restore_branch(self._git, repo, branch, commit)

    async def merge_base(self, repo: Repository, a: str, b: str) -> str:
        """The commit from which both have gone on."""
        return await repository.merge_base(self._git, repo, a, b)

    async def read_file(self, repo: Repository, commit: str, path: str) -> bytes | None:
        """A file as a commit holds it; None when it is not there or is larger than 1 MiB."""
        return await repository.read_file(self._git, repo, commit, path)

    async def list_tree(self, repo: Repository, commit: str, prefix: str) -> tuple[str, ...]:
        """The paths of all files of a commit in the folder `prefix`, or everywhere when it is empty."""
        return await repository.list_tree(self._git, repo, commit, prefix)

    async def create_worktree(
        self, repo: Repository, plan: WorktreePlan, named: create.Named | None = None
    ) -> CreatedWorktree:
        """Make a worktree on a new branch; see `create.create_worktree`."""
        return await create.create_worktree(self._git, self._lock(repo), repo, plan, named)

    async def attach_worktree(
        self, repo: Repository, path: Path, branch: str, copy_files: tuple[str, ...] = (), mark: str = ""
    ) -> CreatedWorktree:
        """Make a worktree for a branch that exists; see `create.attach_worktree`."""
        return await create.attach_worktree(self._git, self._lock(repo), repo, path, branch, copy_files, mark)

    async def check_place(self, repo: Repository, path: Path, mark: str) -> None:
        """Whether `attach_worktree` may drop what git has recorded at a path; see `create.check_record`."""
        await asyncio.to_thread(create.check_record, repo, path, mark)

    async def snapshot(
        self,
        repo: Repository,
        worktree: Worktree,
        base_sha: str,
        run_id: str,
        message: str,
        excluded: tuple[str, ...] = (),
        merging: Merging | None = None,
    ) -> Snapshot | NothingChanged:
        """Commit what the agent left onto its branch; see `snapshot.snapshot`."""
        return await snapshots.snapshot(self._git, repo, worktree, base_sha, run_id, message, excluded, merging)

    async def differs(self, repo: Repository, worktree: Worktree, commit: str, excluded: tuple[str, ...]) -> bool:
        """Whether a worktree holds anything else than a commit; see `resolution.differs`."""
        return await resolution.differs(self._git, repo, worktree, commit, excluded)

    async def back_to_review(self, repo: Repository, branch: str, run_id: str, commit: str, reviewed: str) -> None:
        """Let `reviewed` be what may be merged for a run once more; see `snapshot.back_to_review`."""
        await snapshots.back_to_review(self._git, repo, branch, run_id, commit, reviewed)

    async def lay_out_conflict(
        self, repo: Repository, card: str, target: str, name: str, run_id: str
    ) -> conflicted.ConflictedMerge | None:
        """Merge `target` into `card`, and lay out what conflicts; see `conflicted.lay_out`."""
        return await conflicted.lay_out(self._git, repo, card, target, name, run_id)

    async def diff_files(self, repo: Repository, base: str, snapshot: str) -> tuple[FileChange, ...]:
        """The files that differ between two commits."""
        return await diffs.diff_files(self._git, repo, base, snapshot)

    async def diff_stat(self, repo: Repository, base: str, snapshot: str) -> DiffStat:
        """How many files differ between two commits, and by how many lines."""
        return await diffs.diff_stat(self._git, repo, base, snapshot)

    def diff_patch(
        self, repo: Repository, base: str, snapshot: str, paths: tuple[str, ...] = (), context: int = 3
    ) -> AsyncIterator[bytes]:
        """Git's patch in pieces as it comes, byte for byte; see `diffs.diff_patch`."""
        return diffs.diff_patch(self._git, repo, base, snapshot, paths, context)

    async def merge(self, repo: Repository, plan: MergePlan, journal: merging.Journal) -> MergeOutcome:
        """Merge the reviewed commit; see `merge.merge`."""
        async with self._lock(repo):
            return await merging.merge(self._git, repo, plan, journal)

    async def conflicts(self, repo: Repository, target: str, card: str) -> tuple[Conflict, ...]:
        """What merging the commit `card` into `target` would collide with; see `foresight.foreseen`."""
        return await foresight.foreseen(self._git, repo, target, card)

    async def clashes(self, repo: Repository, one: str, other: str) -> frozenset[str]:
        """The paths at which two commits cannot be merged with each other."""
        return await foresight.clashes(self._git, repo, one, other)

    async def edits(self, repo: Repository, base: str, card: str) -> tuple[FileEdit, ...]:
        """What lies between two commits, file by file and place by place; see `foresight.edits`."""
        return await foresight.edits(self._git, repo, base, card)

    async def preview_merge(
        self, repo: Repository, plan: MergePlan
    ) -> MergePreview | Merged | Conflicted | MergeRefused:
        """What a merge would make of the target; see `merge.preview`."""
        return await merging.preview(self._git, repo, plan)

    async def make_scratch(
        self, repo: Repository, folder: Path, tree: str, parents: tuple[str, ...], copy_files: tuple[str, ...]
    ) -> scratches.Scratch:
        """Lay out a tree in order to check it; see `scratch.make_scratch`."""
        return await scratches.make_scratch(self._git, repo, folder, tree, parents, copy_files)

    async def set_scratch_back(self, repo: Repository, scratch: scratches.Scratch, tree: str) -> scratches.Scratch:
        """Undo what was done to the files of a tree that is checked; see `scratch.set_scratch_back`."""
        return await scratches.set_scratch_back(self._git, repo, scratch, tree)

    async def undo(self, repo: Repository, plan: UndoPlan, journal: merging.Journal) -> UndoOutcome:
        """Take a merge back; see `undo.undo`."""
        async with self._lock(repo):
            return await undoing.undo(self._git, repo, plan, journal)

    async def recover_merge(
        self, repo: Repository, intent: MergeIntent, *, wanted: bool = True, looked: bool = False
    ) -> MergeRecovery:
        """Settle a merge that was cut short; see `merge_recovery.recover_merge`."""
        async with self._lock(repo):
            return await merge_recovery.recover_merge(self._git, repo, intent, wanted=wanted, looked=looked)

    async def recovery_snapshot(
        self,
        repo: Repository,
        worktree: Worktree | Path,
        recovery_id: str,
        listed_ignored: tuple[str, ...] = (),
        *,
        onto: str | None = None,
        whole: bool = True,
        began: str | None = None,
        leaving_for: str | None = None,
    ) -> Recovery | None:
        """Keep what a worktree holds; see `recovery.recovery_snapshot`."""
        how = {"onto": onto, "began": began, "leaving_for": leaving_for}
        return await recovery.recovery_snapshot(
            self._git, repo, worktree, recovery_id, listed_ignored, whole=whole, **how
        )

    async def record_snapshot(
        self, repo: Repository, worktree: Worktree, recovery_id: str, began: str | None = None
    ) -> Recovery | None:
        """Keep what git's record of a worktree holds whose folder is gone; see `lost_folder.record_snapshot`."""
        return await lost_folder.record_snapshot(self._git, repo, worktree, recovery_id, began)

    async def turn_tree(
        self, repo: Repository, worktree: Worktree, base: str, excluded: tuple[str, ...] = ()
    ) -> TurnTree:
        """The tree of what a worktree holds; see `turns.turn_tree`."""
        return await turns.turn_tree(self._git, repo, worktree, base, excluded)

    async def keep_turn(self, repo: Repository, base: str, before: str, tree: str, ref: str) -> TurnTaken:
        """Keep what a turn left; see `turns.keep_turn`."""
        return await turns.keep_turn(self._git, repo, base, before, tree, ref)

    async def set_back(
        self,
        repo: Repository,
        worktree: Worktree,
        commit: str,
        stays: tuple[str, ...],
        keep: restore.Keep,
        branch: bool = False,
    ) -> int:
        """Make a worktree hold the files of a commit; see `restore.set_back`."""
        return await restore.set_back(self._git, repo, worktree, commit, stays, keep, branch)

    async def lay_out_recovery(self, repo: Repository, worktree: Worktree, parent: str, commit: str) -> None:
        """Lay a recovery snapshot out in a fresh worktree; see `restore.lay_out_recovery`."""
        await restore.lay_out_recovery(self._git, repo, worktree, parent, commit)

    async def ref_tip(self, repo: Repository, ref: str) -> str | None:
        """The commit that a full ref names; None when there is no such ref."""
        return await repository.ref_tip(self._git, repo, ref)

    async def delete_refs(self, repo: Repository, refs: Mapping[str, str]) -> tuple[str, ...]:
        """Delete refs of ours that still name these commits; see `repository.delete_refs`."""
        return await repository.delete_refs(self._git, repo, refs)

    async def find_worktree(self, repo: Repository, path: Path) -> Worktree:
        """The worktree recorded at exactly this path. Raises WORKTREE_NOT_FOUND."""
        return await asyncio.to_thread(recovery.find_worktree, repo, path)

    async def remove_worktree(
        self,
        repo: Repository,
        worktree: Worktree,
        delete_branch_at: str | None = None,
        late: remove.Late | None = None,
    ) -> None:
        """Take a worktree away; its files are deleted in the background. See `remove.remove_worktree`.

        delete_branch_at: also delete its branch, as `delete_branch` does. Whoever cancels waits until both is done.
        """
        work = asyncio.ensure_future(self._remove(repo, worktree, delete_branch_at, late))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.gather(work, return_exceptions=True)
            raise

    async def _remove(
        self, repo: Repository, worktree: Worktree, delete_branch_at: str | None, late: remove.Late | None
    ) -> None:
        for left in await remove.remove_worktree(self._lock(repo), repo, worktree, late):
            self._delete_later(left)
        if delete_branch_at is not None:
            await self.delete_branch(repo, worktree.branch, delete_branch_at)

    async def put_back(self, repo: Repository, worktree: Worktree) -> bool:
        """Take a removal back that was cut off; see `putting_back.put_back`."""
        async with self._lock(repo):
            return await asyncio.to_thread(putting_back.put_back, repo, worktree)

    async def empty_trash(self, repo: Repository) -> None:
        """Delete what an engine that was killed had still to delete."""
        for left in await asyncio.to_thread(remove.left_in_trash, repo):
            if await asyncio.to_thread(remove.is_done_with, repo, left):
                self._delete_later(left)

    @property
    def inspection(self) -> Inspection:
        """What the doctor asks of a repository."""
        return Inspection(self._git)

    @property
    def deleting(self) -> bool:
        """Whether folders that were removed are being deleted."""
        return bool(self._deletions)

    async def delete_branch(self, repo: Repository, branch: str, at: str) -> None:
        """Delete a branch of ours that names `at`; see `remove.delete_branch`."""
        async with self._lock(repo):
            await remove.delete_branch(self._git, repo, branch, at)

    async def why_not_ours(self, repo: Repository, worktree: Worktree) -> str | None:
        """What speaks against a worktree being ours; see `identity.why_not_ours`."""
        return await asyncio.to_thread(identity.why_not_ours, repo, worktree)

    async def held_by(self, worktree: Worktree) -> Held | None:
        """What keeps a worktree of ours from being taken away; see `held.held_by`."""
        return await asyncio.to_thread(held_by, worktree)

    async def moved_to(self, repo: Repository, worktree: Worktree) -> Path | None:
        """Where a worktree of ours is, when somebody has moved it with git."""
        return await asyncio.to_thread(identity.moved_to, repo, worktree)

    async def worktrees_inside(self, repo: Repository, worktree: Worktree) -> tuple[Worktree, ...]:
        """Worktrees of the repository that somebody has made inside of this one."""
        return await asyncio.to_thread(identity.inside_of, repo, worktree)

    async def list_worktrees(self, repo: Repository) -> tuple[ListedWorktree, ...]:
        """Every work tree that git lists for the repository, the main one first."""
        return await remove.list_worktrees(self._git, repo)

    def _delete_later(self, folder: Path) -> None:
        job = asyncio.ensure_future(self._delete(folder))
        self._deletions.add(job)
        job.add_done_callback(self._deletions.discard)

    async def _delete(self, folder: Path) -> None:
        """After a moment, for a thread that is busy with files would hold up the answer to whoever removed it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(MOMENT_S):
                await self._at_once.wait()
        async with self._one_deletion:
            await asyncio.to_thread(delete, folder)
