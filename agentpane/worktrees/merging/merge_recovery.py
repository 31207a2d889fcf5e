"""Settling a merge that was cut short, from the intent that was written down before it began.

A checkout in which git was killed holds, for each file of the merge, the old content, the new one, or the
beginning of the new one; that is finished, or taken back where the merge is not wanted any more. Anything else is the
person's, and they are asked. So they are where nothing shows that git has begun, and a file is shorter or gone.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpane.domain.diff import FileChange, encode_path
from agentpane.domain.filemodes import SUBMODULE
from agentpane.domain.gitpaths import shown_paths
from agentpane.worktrees.git.files import read_small
from agentpane.worktrees.git.notes import Note, explained
from agentpane.worktrees.git.runner import GitError, GitRunner, Place
from agentpane.worktrees.merging.attributes import NEW_SIDE, OLD_SIDE
from agentpane.worktrees.merging.checkout import lock_of, place_of
from agentpane.worktrees.merging.laying import lay, sweep
from agentpane.worktrees.merging.obstacles import changes_between, paths_in, refresh_laid
from agentpane.worktrees.merging.sides import Found, State, compare
from agentpane.worktrees.places import head_branch
from agentpane.worktrees.refs.processes import may_be_held
from agentpane.worktrees.repository import branch_tip, is_ancestor
from agentpane.worktrees.values import MergeIntent, MergeRecovery, RecoveryOutcome, Repository

_LOCK_WAITS, _LOCK_WAIT = 50, 0.2
_TIMES = 3  # that the files are looked at, where somebody writes there meanwhile


async def recover_merge(
    git: GitRunner, repo: Repository, intent: MergeIntent, *, wanted: bool = True, looked: bool = False
) -> MergeRecovery:
    """Finish or take back the merge of an intent whose outcome nobody wrote down.

    wanted: finish it; else the checkout goes back to what it was. One that git has done stays done in either case.
    looked: the person has seen the checkout; where nothing shows that git has begun, it has not.
    """
    tip = await branch_tip(git, repo, intent.target)
    if intent.old == intent.new:  # nothing was to move
        if tip == intent.new:
            return MergeRecovery(RecoveryOutcome.COMPLETED, "The branch was not to be moved.", intent.new)
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The branch was moved by somebody else; nothing was changed.")
    done = tip is not None and await _is_done(git, repo, intent, tip)
    held = await _take_ref_locks(git, repo, intent, wait=not done)
    if done:
        return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been completed.", intent.new)
    if tip is None or (tip != intent.old and not await is_ancestor(git, repo, intent.old, tip)):
        message = f"{intent.target} is neither what it was before the merge nor after it; it was left as it is."
        outcome = RecoveryOutcome.ROLLED_BACK if looked else RecoveryOutcome.NEEDS_PERSON
        return MergeRecovery(outcome, message)
    if tip != intent.old and not intent.back and await is_ancestor(git, repo, intent.reviewed, tip):
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The reviewed commit was merged by another merge.")
    if held is not None:
        return _locked(held)
    if intent.checkout is None or intent.checkout_git_dir is None:
        return _nothing_done()
    # There was no lock before the intent, so one that nobody can hold was left by the merge.
    lock = lock_of(intent.checkout_git_dir)
    if not await _let_go(repo, lock):
        return _locked(lock)
    place = place_of(repo, intent.checkout, intent.checkout_git_dir)
    for attempt in range(_TIMES):
        try:
            async with git.scratch() as folder:
                settling = _Settling(git, repo, place, intent, folder, again=attempt > 0)
                settled = await settling.settle(wanted, looked, went_on=tip != intent.old)
        except OSError as error:
            raise _unwritten(intent.checkout, error) from error
        if settled is not None:
            return settled
    message = f"Files in {place.work_tree} were written again and again while the merge was being settled."
    return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, f"{message} What was written is kept.")


def _collide(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies in the other as in a folder."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


async def _is_done(git: GitRunner, repo: Repository, intent: MergeIntent, tip: str) -> bool:
    if tip == intent.new:
        return True
    # Taken back, the old commit has gone from the branch; what has gone on from the new one holds it otherwise.
    if intent.back and await is_ancestor(git, repo, intent.old, tip):
        return False
    return await is_ancestor(git, repo, intent.new, tip)


def _nothing_done() -> MergeRecovery:
    return MergeRecovery(RecoveryOutcome.ROLLED_BACK, "The merge had not begun; nothing was changed.")


def _locked(lock: Path) -> MergeRecovery:
    message = f"{lock} is held by another program, or was left by one; the merge was left as it is."
    return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message, paths=(str(lock),))


async def _take_ref_locks(git: GitRunner, repo: Repository, intent: MergeIntent, wait: bool) -> Path | None:
    """Remove the locks on the target and on its checkout's HEAD that the merge has left; returns one that stays.

    wait: until nobody may hold them; else one that somebody may hold stays.

    It has left what nobody may hold, and holds the commit that it wrote there, or nothing yet where a git of an engine
    that is gone was at work.
    """
    locks = [(repo.common_dir / "refs" / "heads" / f"{intent.target}.lock", repo.common_dir, intent.new)]
    if (git_dir := intent.checkout_git_dir) is not None:
        locks += [(git_dir / "HEAD.lock", git_dir, intent.new), (git_dir / "ORIG_HEAD.lock", git_dir, intent.old)]
    there = [each for each in locks if os.path.lexists(each[0])]
    if not there:
        return None
    left = await asyncio.to_thread(git.notes.left)
    stay = []
    for lock, at_work, written in there:
        free = await _let_go(repo, lock, _LOCK_WAITS if wait else 1)
        if not free or not await asyncio.to_thread(_take, lock, at_work, written, left):
            stay.append(lock)
    return next(iter(stay), None)


def _take(lock: Path, git_dir: Path, written: str, left: Collection[Note]) -> bool:
    content = read_small(lock)
    says_so = content is not None and content.strip() == written.encode()
    if says_so or (content == b"" and explained(left, lock, git_dir)):
        with suppress(OSError):
            lock.unlink(missing_ok=True)
    return not os.path.lexists(lock)


async def _let_go(repo: Repository, lock: Path, looks: int = _LOCK_WAITS) -> bool:
    """Wait while a living process may hold the lock: the git of an engine that was killed may still be at work."""
    for _ in range(looks):
        if not lock.exists() or not await asyncio.to_thread(may_be_held, repo, (lock,)):
            return True
        await asyncio.sleep(_LOCK_WAIT)
    return False


@dataclass(frozen=True, slots=True)
class _Begun:
    """surely: git has begun. changes: those that may be half done; found: what each of their files holds."""

    surely: bool
    head: str
    changes: Sequence[FileChange]
    found: Mapping[str, Found]

    def of(self, state: State) -> tuple[str, ...]:
        return tuple(change.path for change in self.changes if self.found[change.path].state is state)


@dataclass(frozen=True, slots=True)
class _Settling:
    """One look at a checkout, and what follows from it. folder: empty. again: a look before this one has begun."""

    git: GitRunner
    repo: Repository
    place: Place
    intent: MergeIntent
    folder: Path
    again: bool

    async def settle(self, wanted: bool, looked: bool, went_on: bool) -> MergeRecovery | None:
        """None where something was written there meanwhile; it is kept. went_on: the target has."""
        begun, intent, place = await self._look(), self.intent, self.place
        foreign, part = begun.of(State.OTHER), begun.of(State.PART)
        if not begun.surely and (looked or not part):
            return _nothing_done()
        elsewhere = went_on or head_branch(place.git_dir) != intent.target
        if begun.surely and elsewhere and looked:
            return await self._take_back_whole(begun)
        if not begun.surely or elsewhere:
            message = (
                f"The merge was cut short in {place.work_tree}, and files were changed there since; "
                "they were left as they are."
            )
            return MergeRecovery(RecoveryOutcome.NEEDS_PERSON, message, paths=foreign or part or begun.of(State.NEW))
        if not self.again:
            lock_of(place.git_dir).unlink(missing_ok=True)
        if not foreign and wanted:
            return await self._finish(begun)
        back = await _changes(self.git, self.repo, intent.new, intent.old)
        clear = [each for each in back if not any(_collide(each.path, path) for path in foreign)]
        await self._move_index(intent.new, intent.old, clear)
        if await self._lay(clear, OLD_SIDE, begun.found):
            return None
        message = "The merge had been cut short and was taken back."
        if foreign:
            message += f" What was changed since was left as it is: {shown_paths(foreign)}."
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, message, paths=foreign)

    async def _finish(self, begun: _Begun) -> MergeRecovery | None:
        intent = self.intent
        await self._move_index(intent.old, intent.new, begun.changes)
        if await self._lay(begun.changes, NEW_SIDE, begun.found):
            return None
        words, ref = "agentpane: finish merge", f"refs/heads/{intent.target}"
        await self.git.run(self.place, "update-ref", "-m", words, ref, intent.new, intent.old)
        return MergeRecovery(RecoveryOutcome.COMPLETED, "The merge had been cut short and was finished.", intent.new)

    async def _look(self) -> _Begun:
        """How far the merge came in its checkout."""
        git, place, intent = self.git, self.place, self.intent
        changes = await _changes(git, self.repo, intent.old, intent.new)
        assert place.work_tree is not None
        await asyncio.to_thread(sweep, place.work_tree, [each.path for each in changes])
        found_head = await git.run(place, "rev-parse", "--verify", "--quiet", "HEAD", ok=(0, 1))
        head = found_head.line if found_head.exit_code == 0 else intent.old
        if head != intent.old:  # what has been committed there since is not half done
            unlike = {change.path for change in await changes_between(git, self.repo, head, intent.new)}
            changes = [change for change in changes if change.path in unlike]
        begun = _Begun(False, head, changes, await compare(git, place, intent, changes, self.folder))
        surely = self.again or lock_of(place.git_dir).exists() or bool(begun.of(State.NEW))
        surely = surely or (head == intent.old and await self._index_holds(intent.new, changes))
        if not surely and head == intent.old and begun.of(State.PART):  # it has only taken files away by then
            left = await asyncio.to_thread(git.notes.left)
            surely = any(note.changed_files(place.git_dir, intent.began_s) for note in left)
        return _Begun(surely, head, changes, begun.found)

    async def _take_back_whole(self, begun: _Begun) -> MergeRecovery | None:
        """Where the branch, or the checkout, went on: take back what git has done whole and nobody has built upon."""
        git, place, intent = self.git, self.place, self.intent
        unlike_new, unlike_head = await self._unlike(intent.new), await self._unlike(begun.head)
        done = {*begun.of(State.NEW)} - (unlike_new & unlike_head)
        # What is gone from the disk, and not from the index, may be the person's own deletion.
        gone = {each.path for each in begun.changes if each.status == "D"} - unlike_new
        done |= {path for path in gone if begun.found[path] == Found(State.PART, None)}
        since = {change.path for change in await changes_between(git, self.repo, intent.old, begun.head)}
        known = begun.found.keys() - since
        back = [each for each in await _changes(git, self.repo, intent.new, intent.old) if each.path in known]
        if not self.again:
            lock_of(place.git_dir).unlink(missing_ok=True)
        staged = [each for each in back if each.path not in unlike_new]
        if staged:
            await git.run(place, "update-index", "-z", "--index-info", stdin=b"".join(map(_index_line, staged)))
        if await self._lay([each for each in back if each.path in done], OLD_SIDE, begun.found):
            return None
        unlike_old = (*begun.of(State.NEW), *begun.of(State.OTHER), *begun.of(State.PART))
        left = tuple(path for path in unlike_old if path not in known & done)
        message = "The merge had been cut short. What it had left was taken back, beside what has come there since."
        if left:
            message += f" These were left as they are: {shown_paths(left)}."
        return MergeRecovery(RecoveryOutcome.ROLLED_BACK, message, paths=left)

    async def _unlike(self, commit: str) -> frozenset[str]:
        """The files that the index does not hold as a commit has them."""
        names = ("--name-only", "-z", "--no-ext-diff", "--no-renames", "--ignore-submodules=all")
        unlike = await self.git.run(self.place, "diff-index", "--cached", *names, commit, "--")
        return await asyncio.to_thread(paths_in, unlike.stdout)

    async def _index_holds(self, commit: str, changes: Sequence[FileChange]) -> bool:
        """Whether the index holds these files as a commit has them; git writes it whole, or not at all."""
        return not await self._unlike(commit) & {change.path for change in changes}

    async def _move_index(self, before: str, after: str, changes: Sequence[FileChange]) -> None:
        if not await self._index_holds(after, changes):
            await self.git.run(self.place, "read-tree", "-i", "-m", before, after)

    async def _lay(self, changes: Sequence[FileChange], side: str, found: Mapping[str, Found]) -> tuple[str, ...]:
        """Let the checkout hold one side, and the index know it. Returns what was written there meanwhile."""
        assert self.place.work_tree is not None
        root, there = self.place.work_tree, State.OLD if side == OLD_SIDE else State.NEW
        looked = {path: each.looked for path, each in found.items()}
        todo = [each for each in changes if found[each.path].state not in {there, State.LEFT_OUT}]
        away = [each.path for each in todo if each.status == "D"]
        coming = {each.path: self.folder / side / each.path for each in todo if each.status != "D"}
        try:
            left = await asyncio.to_thread(lay, root, looked, away, coming)
        except OSError as error:
            raise _unwritten(root, error) from error
        await refresh_laid(self.git, self.place, coming.keys() - {*left})
        return left


async def _changes(git: GitRunner, repo: Repository, before: str, after: str) -> list[FileChange]:
    found = await changes_between(git, repo, before, after)
    return [change for change in found if SUBMODULE not in (change.old_mode, change.new_mode)]


def _index_line(change: FileChange) -> bytes:
    return f"{change.new_mode} {change.new_sha}\t".encode() + encode_path(change.path) + b"\0"


def _unwritten(root: Path, error: OSError) -> GitError:
    why = error.strerror or str(error)
    return GitError(f"Files of {root} could not be written: {why}.", ("checkout-index",), None, why.encode())
