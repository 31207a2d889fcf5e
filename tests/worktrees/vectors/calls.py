"""Everything that the engine does with git, each answered in a form that is the same wherever nothing is planted."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agentpane.worktrees import (
    CreatedWorktree,
    Merged,
    MergeIntent,
    MergePlan,
    MergePreview,
    MergeRefused,
    Recovery,
    Repository,
    Snapshot,
    UndoPlan,
    WorktreePlan,
    Worktrees,
)

from .scene import BRANCH, Scene

FILES = ("readme.md", "src/app.py", "notes.txt", "new.txt", "late.txt")  # what answers are about
Answer = object


class Refused(Exception):
    """The engine answered that it would not; its words are for the person."""


@dataclass(frozen=True, slots=True)
class At:
    """Where a call is made."""

    scene: Scene
    git: Worktrees

    @property
    def repo(self) -> Repository:
        return self.scene.repository

    async def contents(self, commit: str) -> dict[str, bytes | None]:
        return {path: await self.git.read_file(self.repo, commit, path) for path in FILES}


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    make: Callable[[At], Awaitable[Answer]]


async def _no_journal(intent: MergeIntent) -> None:
    return None


def _on_disk(root: Path) -> dict[str, bytes | None]:
    return {path: (root / path).read_bytes() if (root / path).is_file() else None for path in FILES}


async def _open(at: At) -> Answer:
    opened = await at.git.open_repository(at.scene.repo)
    return opened == at.repo, (await at.git.base_branch(opened, "release")).sha == at.scene.first


async def _read(at: At) -> Answer:
    tree = await at.git.list_tree(at.repo, at.scene.reviewed, "")
    base = await at.git.merge_base(at.repo, "main", at.scene.reviewed)
    between = await at.git.inspection.between(at.repo, at.scene.first, at.scene.reviewed, 3)
    told = [each.partition(" ")[2] for each in between]
    return tree, base, told, await at.contents(at.scene.reviewed), await at.git.branch_tip(at.repo, "release")


async def _differences(at: At) -> Answer:
    between = at.repo, at.scene.first, at.scene.reviewed
    files = [(one.path, one.status, one.binary, one.added) for one in await at.git.diff_files(*between)]
    patch = b"".join([chunk async for chunk in at.git.diff_patch(*between)])
    return files, await at.git.diff_stat(*between), patch


async def _list(at: At) -> Answer:
    listed = await at.git.list_worktrees(at.repo)
    found = await at.git.find_worktree(at.repo, at.scene.tree)
    return found.git_dir == at.scene.git_dir, [one.path for one in listed][:1] == [at.scene.repo]


async def _snapshot(at: At) -> Answer:
    (at.scene.tree / "late.txt").write_text("late\n")
    made = await at.git.snapshot(at.repo, at.scene.worktree, at.scene.first, "run1", "Snapshot", (".env",))
    assert isinstance(made, Snapshot), made
    between = at.repo, at.scene.first, made.sha
    shown = [one.path for one in await at.git.diff_files(*between) if one.path in FILES]
    on_branch = await at.git.branch_tip(at.repo, BRANCH) == made.sha
    return shown, await at.contents(made.sha), on_branch, await at.git.branch_tip(at.repo, "main") == made.sha


async def _recovery(at: At) -> Answer:
    (at.scene.tree / "late.txt").write_text("kept\n")
    kept = await at.git.recovery_snapshot(at.repo, at.scene.worktree, "r1", (".env",))
    assert isinstance(kept, Recovery), kept
    await at.git.record_snapshot(at.repo, at.scene.worktree, "r2", at.scene.first)
    return await at.contents(kept.sha)


async def _turn(at: At) -> Answer:
    (at.scene.tree / "late.txt").write_text("after the turn\n")
    taken = await at.git.turn_tree(at.repo, at.scene.worktree, at.scene.first, (".env",))
    kept = await at.git.keep_turn(at.repo, at.scene.first, at.scene.first, taken.tree, "refs/agentpane/turn/x/1")
    answer = await at.contents(kept.sha)
    await at.git.delete_refs(at.repo, {"refs/agentpane/turn/x/1": kept.sha})
    if await at.git.ref_tip(at.repo, "refs/agentpane/turn/x/1") is not None:
        raise Refused("the ref stays")
    return answer


def _set_back(branch: bool) -> Callable[[At], Awaitable[Answer]]:
    async def keep(ignored: tuple[str, ...]) -> None:
        return None

    async def make(at: At) -> Answer:
        (at.scene.tree / "readme.md").write_text("to be taken back\n")
        await at.git.set_back(at.repo, at.scene.worktree, at.scene.reviewed, (".env",), keep, branch)
        on_disk, tip = _on_disk(at.scene.tree), await at.git.branch_tip(at.repo, BRANCH)
        return {name: on_disk[name] for name in ("readme.md", "src/app.py", "new.txt")}, tip == at.scene.reviewed

    return make


async def _foresee(at: At) -> Answer:
    clashing, reviewed = at.scene.clashing, at.scene.reviewed
    found = await at.git.conflicts(at.repo, at.scene.person, clashing)
    edits = await at.git.edits(at.repo, at.scene.first, reviewed)
    return found, await at.git.clashes(at.repo, reviewed, at.scene.person), edits


async def _lay_out(at: At) -> Answer:
    laid = await at.git.lay_out_conflict(at.repo, at.scene.clashing, at.scene.person, "main", "main")
    assert laid is not None
    # With a driver named for the file git says nothing of where it conflicts, and both sides are laid out whole.
    return [one.path for one in laid.paths], (await at.contents(laid.laid))["src/app.py"] is not None


async def _check(at: At) -> Answer:
    plan = MergePlan("release", at.scene.reviewed, "release", "merge", "Merge", at.scene.first)
    preview = await at.git.preview_merge(at.repo, plan)
    if not isinstance(preview, MergePreview):
        raise Refused(f"{preview}")
    folder = at.scene.root / "scratch"
    folder.mkdir()
    made = await at.git.make_scratch(at.repo, folder, preview.tree, (at.scene.first,), (".env",))
    on_disk = _on_disk(made.tree)
    (made.tree / "readme.md").write_text("by a check\n")
    await at.git.set_scratch_back(at.repo, made, preview.tree)
    again = _on_disk(made.tree)
    shutil.rmtree(folder)
    return preview.tree, on_disk, again == on_disk


async def _ready(at: At) -> Answer:
    """One that is made ahead, advanced, and becomes a card's."""
    trees = at.scene.tree.parent
    ready = await at.git.ready.make(at.repo, trees / "ready", at.scene.first, "mark-of-ready")
    moved = await at.git.ready.advance(at.repo, ready, at.scene.reviewed)
    branch = await at.git.ready.free_branch(at.repo, "agentpane/ready")
    sealed = await at.git.ready.is_sealed(ready, at.scene.reviewed)
    taken = None if branch is None else (at.repo, ready, at.scene.reviewed, trees / "four", branch)
    card = None if taken is None else await at.git.ready.hand_over(*taken)
    if card is None:
        raise Refused("it cannot be handed over")
    on_disk = _on_disk(card.path)
    await at.git.remove_worktree(at.repo, card, at.scene.reviewed)
    return moved, sealed, branch, on_disk


async def _examine(at: At) -> Answer:
    """What the doctor reads."""
    look = at.git.inspection
    refs = await look.refs(at.repo)
    kept = await look.message(at.repo, at.scene.reviewed), await look.parent(at.repo, at.scene.reviewed)
    weight = await look.weight(at.repo, kept[1], at.scene.reviewed)
    await look.beside(at.repo, at.scene.reviewed, at.scene.first)
    ours = await at.git.why_not_ours(at.repo, at.scene.worktree)
    if ours is not None:
        raise Refused(ours)
    assert await at.git.held_by(at.scene.worktree) is None
    await look.last_head(at.repo, at.scene.worktree)  # of a log that anybody may have cut off
    await look.locks(at.repo, (at.scene.git_dir,))
    return kept, weight, refs.get("refs/heads/parked")


async def _created(at: At, made: CreatedWorktree) -> Answer:
    on_disk = _on_disk(made.path)
    copied = (made.path / ".env").is_file()
    await at.git.remove_worktree(at.repo, made.worktree, at.scene.first)
    return on_disk, copied, made.path.exists(), await at.git.branch_tip(at.repo, made.branch)


async def _create(at: At) -> Answer:
    plan = WorktreePlan(at.scene.tree.with_name("two"), "agentpane/two-abc123", at.scene.first, (".env",))
    return await _created(at, await at.git.create_worktree(at.repo, plan))


async def _attach(at: At) -> Answer:
    await at.git.restore_branch(at.repo, "attached", at.scene.first)
    path = at.scene.tree.with_name("three")
    await at.git.check_place(at.repo, path, "mark-of-three")
    return await _created(at, await at.git.attach_worktree(at.repo, path, "attached", (), "mark-of-three"))


async def _remove(at: At) -> Answer:
    await at.git.remove_worktree(at.repo, at.scene.worktree)
    await at.git.empty_trash(at.repo)
    return at.scene.tree.exists(), at.scene.git_dir.exists()


def _merge(target: str, strategy: str) -> Callable[[At], Awaitable[Answer]]:
    async def make(at: At) -> Answer:
        plan = MergePlan(target, at.scene.reviewed, target, strategy, "Merge", at.scene.first)
        outcome = await at.git.merge(at.repo, plan, _no_journal)
        if isinstance(outcome, MergeRefused):
            raise Refused(outcome.message)
        tip = await at.git.branch_tip(at.repo, target)
        return type(outcome).__name__, tip == getattr(outcome, "commit", ""), await at.contents(str(tip))

    return make


def _undo(target: str) -> Callable[[At], Awaitable[Answer]]:
    async def make(at: At) -> Answer:
        plan = UndoPlan(target, at.scene.first, at.scene.merged, at.scene.reviewed, target, "Undo", "Again\n")
        undone = await at.git.undo(at.repo, plan, _no_journal)
        if isinstance(undone, MergeRefused):
            raise Refused(undone.message)
        return undone.exact, await at.contents(str(await at.git.branch_tip(at.repo, target)))

    return make


async def _undo_checkout(at: At) -> Answer:
    """A merge into the person's checkout, and back."""
    plan = MergePlan("main", at.scene.reviewed, "main", "merge", "Merge", at.scene.first)
    merged = await at.git.merge(at.repo, plan, _no_journal)
    if not isinstance(merged, Merged):
        raise Refused(getattr(merged, "message", "conflicts"))
    there, old = _on_disk(at.scene.repo), merged.old_target
    back = UndoPlan("main", old, merged.commit, at.scene.reviewed, "main", "Undo", "Again\n")
    undone = await at.git.undo(at.repo, back, _no_journal)
    if isinstance(undone, MergeRefused):
        raise Refused(undone.message)
    return type(undone).__name__, there, _on_disk(at.scene.repo), await at.git.branch_tip(at.repo, "main") == old


async def _recover_merge(at: At) -> Answer:
    """A merge into the person's checkout of which only the first file had been written."""
    scene = at.scene
    intent = MergeIntent("parked", "parked", scene.first, scene.merged, scene.reviewed, None, None)
    nothing = await at.git.recover_merge(at.repo, intent)
    (scene.repo / "new.txt").write_text("ne")
    (scene.common / "index.lock").touch()
    checked_out = MergeIntent("main", "main", scene.person, scene.ready, scene.reviewed, scene.repo, scene.common)
    begun = await at.git.recover_merge(at.repo, checked_out)
    return nothing.outcome, begun.outcome, _on_disk(at.scene.repo)


async def _make_repository(at: At) -> Answer:
    made = await at.git.make_repository(at.scene.root / "sample", {"a.txt": b"a\n"}, "First")
    return await at.git.list_tree(made, "main", ""), made.bare


CALLS = (
    Call("opening the repository", _open),
    Call("reading commits and their files", _read),
    Call("showing what differs", _differences),
    Call("listing worktrees", _list),
    Call("the snapshot for review", _snapshot),
    Call("the recovery snapshot", _recovery),
    Call("the snapshot of a turn", _turn),
    Call("setting the worktree back", _set_back(branch=False)),
    Call("setting the worktree and its branch back", _set_back(branch=True)),
    Call("foreseeing conflicts", _foresee),
    Call("laying a conflict out", _lay_out),
    Call("laying out what is to be checked", _check),
    Call("what the doctor reads", _examine),
    Call("a worktree made ahead", _ready),
    Call("making a worktree and taking it away", _create),
    Call("a worktree for a branch that exists", _attach),
    Call("merging into another branch", _merge("release", "merge")),
    Call("merging as one commit", _merge("squash", "squash")),
    Call("fast-forwarding", _merge("forward", "ff")),
    Call("undoing exactly", _undo("done")),
    Call("undoing by a commit", _undo("gone-on")),
    Call("merging into the person's checkout, and undoing that", _undo_checkout),
    Call("settling a merge that was cut short", _recover_merge),
    Call("making a repository", _make_repository),
    Call("taking the agent's worktree away", _remove),
)
