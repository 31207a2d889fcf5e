"""A person's review of a snapshot: the diff, the approval that merges exactly it, the rejection that sends it back."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, merges, projects, reviews, sessions, settings, tasks, worktrees
from agentpane.domain.board import COLUMN_TITLES, BoardEvent, Column, after
from agentpane.domain.conflicts import Conflict
from agentpane.domain.diff import FileChange
from agentpane.domain.filemodes import SUBMODULE
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import REASON, check_text
from agentpane.domain.projects import Project
from agentpane.domain.resolving import Stage
from agentpane.domain.review import (
    MOST_COMMITS,
    ApproveOutcome,
    ApproveResult,
    DiffSummary,
    FileDiff,
    MergeStrategy,
    PatchChunk,
)
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents import agent_homes
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core, login_name
from agentpane.orchestrator.merging.checks import Checks
from agentpane.orchestrator.merging.journal import Journal, check_free
from agentpane.orchestrator.merging.merge_gate import TRIES, Gate
from agentpane.orchestrator.merging.resolutions import staged
from agentpane.orchestrator.patches import Patches
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.dispatch import Dispatcher
from agentpane.orchestrator.sessions import note
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.worktrees import Conflicted, Merged, MergeIntent, MergeOutcome, MergePlan, MergeRefused, Repository

log = logging.getLogger(__name__)


class _GateMovedError(Exception):
    """The base branch has moved to where other checks hold; nothing was touched."""


@dataclass(frozen=True, slots=True)
class Review:
    core: Core
    blobs: BlobStore
    dispatcher: Dispatcher
    workspaces: Workspaces
    patches: Patches
    checks: Checks

    async def diff(self, command: c.GetDiff) -> DiffSummary:
        """The files that the snapshot changes. Raises TASK_NO_DIFF when there is no snapshot."""
        task = await self.core.task(command.task)
        base, snapshot = reviewable(task)
        repository = await self._repository(task)
        files = await self.core.git.diff_files(repository, base, snapshot)
        target = await self._target(task, repository)
        listed = await self.core.git.inspection.between(repository, base, snapshot, MOST_COMMITS + 2, target)
        below = listed[1:]  # the first is the snapshot
        shown = tuple(map(_shown, files))
        more = len(below) > MOST_COMMITS
        return DiffSummary(base, snapshot, shown, task.base_branch or "", below[:MOST_COMMITS], more)

    async def patch(self, command: c.GetPatch) -> PatchChunk:
        task = await self.core.task(command.task)
        base, snapshot = reviewable(task)
        if command.snapshot != snapshot:
            raise stale(snapshot)
        repository = await self._repository(task)
        return await self.patches.chunk(repository, base, snapshot, command.offset)

    async def approve(self, command: c.Approve) -> ApproveOutcome:
        """Merge exactly the reviewed commit. Anything but MERGED has changed nothing.

        Raises OpenMergesError; then nothing has changed either.
        """
        task = await self.core.task(command.task)
        chosen = await self.core.db.read(settings.get)
        how = command.strategy or MergeStrategy(chosen.merge_strategy)
        for _ in range(TRIES):
            try:
                self._approvable(task, command.sha)
                await check_free(self.core, task)
                repository = await self._repository(task)
                gate = await self.checks.gate(task, repository, how)  # may take long; the card is not held meanwhile
            except AgentPaneError as error:
                if error.code is ErrorCode.INTERNAL:
                    raise
                return _outcome(task, ApproveResult.REFUSED, error.code, error.message, error.hint)
            async with self.core.task_locks.of(task.card.id):
                task = await self.core.task(task.card.id)
                outcome = await self._approve(task, repository, command.sha, how, gate)
            if outcome is not None:
                return outcome
        message = f"The base branch changed {TRIES} times while the merge was being checked. Nothing has been changed."
        hint = "Approve again when nothing else works on that branch."
        return _outcome(task, ApproveResult.REFUSED, ErrorCode.MERGE_BASE_MOVED, message, hint)

    async def _approve(
        self, task: Task, repository: Repository, sha: str | None, how: MergeStrategy, gate: Gate
    ) -> ApproveOutcome | None:
        """None: what the gate was found for has changed meanwhile."""
        try:
            _, snapshot = self._approvable(task, sha)
        except AgentPaneError as error:
            return _outcome(task, ApproveResult.REFUSED, error.code, error.message, error.hint)
        if gate.snapshot != snapshot:
            return None
        if gate.blocking:
            return await self._refused(task, gate.refusal())
        project = await self.core.db.read(projects.get, task.card.project_id)
        return await self._merge(task, project, repository, gate, how)

    async def put_off(self, command: c.Approve, why: MergeRefused) -> ApproveOutcome:
        """The outcome of an approval for which the place is not free, written down where the card still waits."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            if task.card.column is not Column.WAITING_APPROVAL:
                return _outcome(task, ApproveResult.REFUSED, why.code, why.message, why.hint, why.paths)
            return await self._refused(task, why)

    async def reject(self, command: c.Reject) -> Task:
        """Send the card back to its agent with the reason.

        Raises TASK_NOT_WAITING_APPROVAL, VALIDATION_ERROR, QUEUE_FULL or BACKEND_AUTH; then nothing has changed.
        """
        reason = check_text("reason", command.reason, REASON)
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            if task.card.column is not Column.WAITING_APPROVAL:
                raise not_waiting(task)
            _, snapshot = reviewable(task)
            prompt = prompts.rejection_prompt(reason, command.comments)

            def store(connection: tasks.Connection) -> None:
                now = self.core.clock.now()
                reviews.add(connection, task.card.id, snapshot, "rejected", reason, command.comments, now)
                told: JsonObject = {"snapshot": snapshot, "reason": reason, "comments": len(command.comments)}
                audit.append(
                    connection, (self.core.record("reject", task.card.project_id, task=task.card, input=told),)
                )
                tasks.set_fields(
                    connection,
                    task.card.id,
                    now,
                    rejection_reason=reason,
                    rejection_count=task.card.rejection_count + 1,
                    snapshot=None,
                    files_changed=None,
                    lines_added=None,
                    lines_removed=None,
                    conflicts=(),
                    code=None,
                )
                staged(connection, worktrees.for_task(connection, task.card.id), Stage.ABANDONED, now)

            await self.dispatcher.send_back(task, prompt, command.environment, store)
            if task.card.resolving is not None:
                target = task.card.resolving.target
                await self._said(task, {"state": "resolution_abandoned", "target": target})
        await self.core.announce_task(task.card.id)
        return await self.core.task(task.card.id)

    def _approvable(self, task: Task, sha: str | None) -> tuple[str, str]:
        if task.card.column is Column.VERIFIED:
            raise AgentPaneError(
                ErrorCode.TASK_ALREADY_APPROVED,
                "This card is merged already.",
                hint=f"The merge commit is {task.merge_commit}. Nothing has changed.",
            )
        if task.card.column is not Column.WAITING_APPROVAL:
            raise not_waiting(task)
        base, snapshot = reviewable(task)
        if sha is not None and (len(sha) < 7 or not snapshot.startswith(sha.lower())):
            raise stale(snapshot)
        return base, snapshot

    async def _merge(
        self, task: Task, project: Project, repository: Repository, gate: Gate, how: MergeStrategy
    ) -> ApproveOutcome | None:
        chosen = await self.core.db.read(settings.get)
        snapshot = gate.snapshot
        target = task.base_branch or project.base_branch
        name = login_name(chosen.approved_by, os.environ)
        plan = MergePlan(
            target=target,
            reviewed=snapshot,
            run_id=task.runs[-1].id,
            strategy=how.value,
            message=f"{task.card.title}\n\nTask: {task.card.id}\nReviewed: {snapshot}\nApproved-by: {name}\n",
            base_sha=task.base_sha,
            only_tree=gate.tree,
        )
        journal = Journal(self.core, task, how, approved_by=name)

        async def write(intent: MergeIntent) -> None:
            if not await self.checks.holds(gate, task, intent.old):
                raise _GateMovedError
            await journal.write(intent)

        outcome: MergeOutcome | None = None
        with contextlib.suppress(_GateMovedError):
            outcome = await self.core.git.merge(repository, plan, write)
        await journal.end(outcome)
        match outcome:
            case Merged():
                intent = journal.ids[-1] if journal.ids else None  # none: the person has merged it by hand
                done = await self.merged(task, outcome.commit, intent, name, how.value, repository)
                return replace(done, message=done.message + gate.notes)
            case Conflicted():
                return await self._conflicted(task, outcome, target, repository)
            case MergeRefused():
                return await self._refused(task, outcome)
            case _:
                return None

    async def merged(
        self, task: Task, commit: str, intent: str | None, name: str, strategy: str, repository: Repository
    ) -> ApproveOutcome:
        """Write down a merge that git has made, then take the worktree and branch away."""
        entry = self.core.record(
            "approve",
            task.card.project_id,
            actor=name,
            task=task.card,
            input={"snapshot": task.snapshot, "strategy": strategy, "target": task.base_branch},
            output={"merge_commit": commit},
        )

        def store(connection: tasks.Connection) -> tuple[tuple[str, int], ...]:
            now = self.core.clock.now()
            if intent is not None:
                merges.finish(connection, intent, "done", now)
            merges.close(connection, task.card.id, now)
            if task.snapshot is not None:
                reviews.add(connection, task.card.id, task.snapshot, "approved", "", (), now)
            tasks.set_fields(
                connection,
                task.card.id,
                now,
                merge_commit=commit,
                approved_at=now,
                approved_by=name,
                code=None,
                conflicts=(),
            )
            audit.append(connection, (entry,))
            target = after(Column.WAITING_APPROVAL, BoardEvent.APPROVE)
            return tasks.move(connection, task.card.id, target, 0, now).renumbered

        renumbered = await self.core.db.write(store)
        await self._said(task, {"state": "merged", "commit": commit, "target": task.base_branch, "strategy": strategy})
        await self.core.announce_task(task.card.id, renumbered)
        ref = await self.tidy(task, repository)
        message = f"Merged into {task.base_branch} as {commit[:10]}."
        recovery = None if ref is None else ref.rpartition("/")[2]
        return ApproveOutcome(task.card.id, ApproveResult.MERGED, commit, (), None, message, "", recovery)

    async def tidy(self, task: Task, repository: Repository) -> str | None:
        """Put away what a merged card worked in. Returns the ref of what was kept of it, if anything was."""
        ref: str | None = None
        # The merge stands; a worktree that cannot be removed is listed and reported, and takes nothing back.
        stays = await self.workspaces.left_alone(task, repository)
        try:
            ref = await self.workspaces.discard(task, repository, "approve", delete_branch_at=task.snapshot)
        except AgentPaneError as error:
            stays = error
        if ref is not None:
            await self._said(task, {"state": "worktree_kept", "recovery": ref})
        if stays is not None:
            log.warning("the worktree of task %s stays: %s", task.card.id, stays.message)
            await self._said(task, {"state": "worktree_stays", "code": stays.code.value, "message": stays.message})
        await agent_homes.remove(self.core, task.card.id)
        if task.session_id is not None:
            await self.core.db.write(sessions.close, task.session_id, self.core.clock.now())
        await self.core.announce_task(task.card.id, counts=False)
        return ref

    async def _conflicted(self, task: Task, outcome: Conflicted, target: str, repository: Repository) -> ApproveOutcome:
        paths = tuple(conflict.path for conflict in outcome.paths)
        conflicts = await self.core.git.conflicts(repository, outcome.target_sha, task.snapshot or "")
        await self._store_refusal(task, ErrorCode.MERGE_CONFLICT, conflicts)
        message = f"{target} has changed in the same places: {len(paths)} path(s) conflict. Both sides are kept."
        by_hand = task.card.resolving is not None and task.card.resolving.by_hand
        hint = (
            "You are resolving it by hand in the worktree: take the result (agentpane resolve --done), hand it to the "
            "card's agent as it lies (agentpane resolve), or give up (agentpane resolve --abandon). "
            "Nothing has been changed."
            if by_hand
            else "Hand the conflict to the card's agent (agentpane resolve), resolve it by hand in the worktree "
            "(agentpane resolve --by-hand), or leave the card waiting. Nothing has been changed."
        )
        return _outcome(task, ApproveResult.CONFLICTED, ErrorCode.MERGE_CONFLICT, message, hint, paths)

    async def _refused(self, task: Task, outcome: MergeRefused) -> ApproveOutcome:
        await self._store_refusal(task, outcome.code, ())
        return _outcome(task, ApproveResult.REFUSED, outcome.code, outcome.message, outcome.hint, outcome.paths)

    async def _store_refusal(self, task: Task, code: ErrorCode, conflicts: tuple[Conflict, ...]) -> None:
        paths = [conflict.path for conflict in conflicts]
        entry = self.core.record(
            "approve",
            task.card.project_id,
            task=task.card,
            input={"snapshot": task.snapshot, "target": task.base_branch},
            output={"paths": [*paths]},
            error=code.value,
        )

        def store(connection: tasks.Connection) -> None:
            tasks.set_fields(connection, task.card.id, self.core.clock.now(), code=code.value, conflicts=conflicts)
            audit.append(connection, (entry,))

        await self.core.db.write(store)
        await self._said(task, {"state": "merge_refused", "code": code.value, "paths": [*paths]})
        await self.core.announce_task(task.card.id, counts=False)

    async def _said(self, task: Task, data: JsonObject) -> None:
        await note(self.core, self.blobs, task, task.runs[-1].id, EventKind.STATE, data)

    async def _target(self, task: Task, repository: Repository) -> str | None:
        """The commit that the target is at, or was at before the card was merged; None where that is not known."""
        if task.merge_commit is None:
            return await self.core.git.branch_tip(repository, task.base_branch) if task.base_branch else None
        records = await self.core.db.read(merges.for_task, task.card.id)
        return next((each.old_sha for each in reversed(records) if each.new_sha == task.merge_commit), None)

    async def _repository(self, task: Task) -> Repository:
        project = await self.core.db.read(projects.get, task.card.project_id)
        return await self.core.git.open_repository(Path(project.path))


def _shown(file: FileChange) -> FileDiff:
    target = file.new_sha if file.new_mode == SUBMODULE else file.target
    return FileDiff(
        file.path, file.old_path, file.status, file.added, file.removed, file.binary,
        file.old_mode, file.new_mode, target,
    )  # fmt: skip


def reviewable(task: Task) -> tuple[str, str]:
    """The base and the snapshot of a card. Raises TASK_NO_DIFF when it has none."""
    if task.snapshot is None or task.base_sha is None:
        raise AgentPaneError(
            ErrorCode.TASK_NO_DIFF,
            "This card has no diff.",
            hint=f"It is in {COLUMN_TITLES[task.card.column]}; a diff is there when its agent has finished.",
        )
    return task.base_sha, task.snapshot


def stale(snapshot: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.MERGE_REVIEW_STALE,
        "The card has another snapshot than the one that was reviewed.",
        hint=f"Review {snapshot[:10]} and approve that. Nothing has been changed.",
        details={"snapshot": snapshot},
    )


def not_waiting(task: Task) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.TASK_NOT_WAITING_APPROVAL,
        f"The card is in {COLUMN_TITLES[task.card.column]}, not in Waiting Approval.",
        hint="Nothing has changed.",
        details={"column": task.card.column.value},
    )


def _outcome(
    task: Task, result: ApproveResult, code: ErrorCode, message: str, hint: str, paths: tuple[str, ...] = ()
) -> ApproveOutcome:
    return ApproveOutcome(task.card.id, result, None, paths, code.value, message, hint)
