"""Taking a merge back: exactly where nothing has come after it, by a commit that reverts it otherwise.

Where the branch was moved away from the merge, by the person's own reset for example, it is left as it is.

Nothing of the person's is overwritten, and the change itself is kept, pinned, to be reviewed once more.
"""

from __future__ import annotations

from agentpane.domain.gitpaths import display_path, shown_paths
from agentpane.errors import ErrorCode
from agentpane.worktrees.conflicts.merge_tree import parse_merge_tree
from agentpane.worktrees.git.runner import LONG_TIMEOUT, GitError, GitRunner
from agentpane.worktrees.merging.moving import Journal, TargetMoved, move
from agentpane.worktrees.merging.obstacles import changes_between
from agentpane.worktrees.places import objects_of
from agentpane.worktrees.repository import branch_tip, commit_tree, is_ancestor, merge_base, ref_tip
from agentpane.worktrees.snapshots.snapshot import reviewed_ref
from agentpane.worktrees.values import MergeIntent, MergeRefused, Repository, Undone, UndoOutcome, UndoPlan

TRIES = 3


async def undo(git: GitRunner, repo: Repository, plan: UndoPlan, journal: Journal) -> UndoOutcome:
    """Take a merge back. Expected failures are values; nothing has changed then.

    journal: see `moving.move`.
    """
    for _ in range(TRIES):
        tip = await branch_tip(git, repo, plan.target)
        if tip == plan.merge:
            outcome = await _exactly(git, repo, plan, journal)
        elif tip is not None and await is_ancestor(git, repo, plan.merge, tip):
            outcome = await _by_a_commit(git, repo, plan, tip, journal)
        elif tip is not None:
            return await _gone_already(git, repo, plan, tip, journal)
        else:
            return _refused(f"There is no branch {display_path(plan.target)} any more.")
        if not isinstance(outcome, TargetMoved):
            return outcome
    return _refused(
        f"{display_path(plan.target)} changed {TRIES} times meanwhile.",
        "Try again when nothing else works on that branch.",
    )


async def _exactly(git: GitRunner, repo: Repository, plan: UndoPlan, journal: Journal) -> UndoOutcome | TargetMoved:
    pinned = await _pin(git, repo, plan, plan.reviewed)
    if isinstance(pinned, MergeRefused):
        return pinned
    intent = MergeIntent(plan.run_id, plan.target, plan.merge, plan.old, plan.reviewed, None, None, back=True)
    moved = await move(git, repo, intent, journal)
    if moved is not None:
        return moved
    return Undone(plan.old, True, plan.reviewed, await merge_base(git, repo, plan.old, plan.reviewed))


async def _by_a_commit(
    git: GitRunner, repo: Repository, plan: UndoPlan, tip: str, journal: Journal
) -> UndoOutcome | TargetMoved:
    place = objects_of(repo)
    text = plan.message.encode("utf-8", "replace")
    tree, paths = await _merged(git, repo, tip, await _after(git, repo, plan, plan.merge, plan.old))
    if paths:
        return _refused(
            f"{display_path(plan.target)} has gone on from the merge in the same places: {shown_paths(paths)}.",
            "Revert it by hand, or give the card a follow-up task.",
            paths,
        )
    now = await commit_tree(git, repo, tip)
    if tree == now:
        return _refused(f"What was merged is not in {display_path(plan.target)} any more.", "There is nothing to undo.")
    revert = (await git.run(place, "commit-tree", tree, "-p", tip, stdin=text)).line
    reapplied = plan.again.encode("utf-8", "replace")
    again = (await git.run(place, "commit-tree", now, "-p", revert, stdin=reapplied)).line
    pinned = await _pin(git, repo, plan, again)
    if isinstance(pinned, MergeRefused):
        return pinned

    async def written(intent: MergeIntent) -> None:
        try:
            await journal(intent)
        except BaseException:  # it does not come to a move
            await _pin(git, repo, plan, plan.reviewed)
            raise

    intent = MergeIntent(plan.run_id, plan.target, tip, revert, again, None, None)
    moved = await move(git, repo, intent, written)
    if moved is not None:
        await _pin(git, repo, plan, plan.reviewed)
        return moved
    return Undone(revert, False, again, revert)


async def _gone_already(git: GitRunner, repo: Repository, plan: UndoPlan, tip: str, journal: Journal) -> UndoOutcome:
    pinned = await _pin(git, repo, plan, plan.reviewed)
    if isinstance(pinned, MergeRefused):
        return pinned
    target, merge = display_path(plan.target), plan.merge[:12]
    try:
        base = await merge_base(git, repo, plan.old, plan.reviewed)
    except GitError:
        return _refused(f"{target} does not hold the merge {merge} any more, nor does the repository.")
    if not await is_ancestor(git, repo, base, tip):  # approved there, the change would bring others' work back
        return _refused(f"{target} holds neither the merge {merge} any more, nor {base[:12]}, which it was built on.")
    refused = await _held_otherwise(git, repo, plan, base, tip)
    if refused is not None:
        return refused
    await journal(MergeIntent(plan.run_id, plan.target, tip, tip, plan.reviewed, None, None))
    return Undone(tip, None, plan.reviewed, base)


async def _held_otherwise(git: GitRunner, repo: Repository, plan: UndoPlan, base: str, tip: str) -> MergeRefused | None:
    """Whether something of the change is there all the same: taking it away would change what the branch holds.

    base: what the change was built on. The merge itself may be gone from the repository.
    """
    changed = {change.path for change in await changes_between(git, repo, base, plan.reviewed)}
    if changed.isdisjoint(change.path for change in await changes_between(git, repo, base, tip)):
        return None
    now = await commit_tree(git, repo, tip)
    as_it_is = await _after(git, repo, plan, plan.reviewed, tip)
    away = await _after(git, repo, plan, plan.reviewed, base)
    without, paths = await _merged(git, repo, as_it_is, away)
    if without == now and not paths:  # a conflict may leave the tree as it is, too
        return None
    gone = f"{display_path(plan.target)} does not hold the merge {plan.merge[:12]} any more"
    if paths:
        return _refused(
            f"{gone}, and what it holds in the same places may be the change in other commits: {shown_paths(paths)}.",
            "Look at the branch's history, and revert by hand what is to go.",
            paths,
        )
    left = tuple(change.path for change in await changes_between(git, repo, now, without))
    return _refused(
        f"{gone}, but holds the change, or some of it, in other commits: {shown_paths(left)}.",
        "Revert those by hand.",
        left,
    )


async def _after(git: GitRunner, repo: Repository, plan: UndoPlan, commit: str, holds: str) -> str:
    """A commit right after `commit` that holds what `holds` does.

    With what was before a change, it is what reverting means: merging it takes the change away, and nothing else.
    """
    tree = await commit_tree(git, repo, holds)
    text = plan.message.encode("utf-8", "replace")
    return (await git.run(objects_of(repo), "commit-tree", tree, "-p", commit, stdin=text)).line


async def _merged(git: GitRunner, repo: Repository, one: str, other: str) -> tuple[str, tuple[str, ...]]:
    """The tree of a merge that nobody is shown, and the paths in conflict."""
    shape = ("merge-tree", "--write-tree", "-z", "--messages", one, other)
    merged = await git.run(objects_of(repo), *shape, ok=(0, 1), timeout=LONG_TIMEOUT)
    tree, conflicts = parse_merge_tree(merged.stdout)
    return tree, tuple(path for path, _ in conflicts)


async def _pin(git: GitRunner, repo: Repository, plan: UndoPlan, commit: str) -> MergeRefused | None:
    """Keep the commit, and name it as what may be merged."""
    ref = reviewed_ref(plan.run_id)
    if await ref_tip(git, repo, ref) == commit:
        return None
    pinned = await git.run(objects_of(repo), "update-ref", "-m", "agentpane: undo", ref, commit, ok=(0, 128))
    if pinned.exit_code == 0:
        return None
    return _refused(f"The change {commit[:12]} is not in the repository any more.")


def _refused(message: str, hint: str = "Look at the branch's history.", paths: tuple[str, ...] = ()) -> MergeRefused:
    return MergeRefused(ErrorCode.MERGE_UNDO_IMPOSSIBLE, f"{message} Nothing has been changed.", hint, paths)
