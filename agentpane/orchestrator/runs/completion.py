"""What becomes of an agent's work when it stops: a snapshot to review, or the word that nothing changed."""

from __future__ import annotations

from collections.abc import Mapping

from agentpane.db import audit, runs, tasks, worktrees
from agentpane.domain.board import BoardEvent, Column, after
from agentpane.domain.projects import Project
from agentpane.domain.resolving import Stage
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow
from agentpane.errors import ErrorCode
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.merging.resolutions import Resolutions, not_written, resolved
from agentpane.orchestrator.sessions import Recorder
from agentpane.worktrees import DiffStat, NothingChanged, Repository, Snapshot, Worktree


async def compared(core: Core, repository: Repository, target: str, taken: Snapshot) -> tuple[str, DiffStat]:
    """What a snapshot is compared with, and by how much it differs: what the target as it is has in common with it."""
    tip = await core.git.branch_tip(repository, target)
    base = await core.git.merge_base(repository, tip, taken.sha) if tip else taken.base
    return base, taken.stat if base == taken.base else await core.git.diff_stat(repository, base, taken.sha)


def taken_fields(taken: Snapshot, base: str, stat: DiffStat) -> Mapping[str, object]:
    """What a card says of itself that has a new snapshot to review."""
    return {
        "snapshot": taken.sha,
        "base_sha": base,
        "files_changed": stat.files,
        "lines_added": stat.added,
        "lines_removed": stat.removed,
        "code": None,
        "conflicts": (),
    }


class Completion:
    """Ends a run that its agent, or the person, calls done."""

    def __init__(self, core: Core, credentials: Credentials, resolutions: Resolutions) -> None:
        self._core = core
        self._credentials = credentials
        self._resolutions = resolutions

    async def complete(
        self,
        run: runs.RunRow,
        task: Task,
        project: Project,
        repository: Repository,
        worktree: Worktree,
        result: str,
        recorder: Recorder,
    ) -> None:
        """Commit what changed, pin it and move the card; or say on the card that nothing changed.

        Raises AgentPaneError with WORKTREE_NESTED_REPO, VALIDATION_ERROR (files too large) or MERGE_CONFLICT
        (something is undecided) when the worktree cannot be committed as it is; then nothing has moved.
        """
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        assert row is not None and row.base_sha is not None
        merging = row.merging
        if merging is not None and merging.stage is not Stage.WRITTEN:
            raise not_written(merging)
        merges = "" if merging is None else f"Merges: {merging.target} {merging.sha}\n"
        message = f"{task.card.title}\n\nTask: {task.card.id}\nAgent: {run.agent}\nRun: {run.id}\n{merges}"
        taken = await self._core.git.snapshot(repository, worktree, row.base_sha, run.id, message, row.copied, merging)
        if isinstance(taken, NothingChanged):
            await self._nothing_changed(run, task, result, recorder)
        else:
            await self._waiting(run, task, project, repository, row, taken, result, recorder)
        if merging is not None and isinstance(taken, Snapshot):
            await self._resolutions.forget(merging, repository)
        self._credentials.forget(run.id)
        await self._core.announce_task(task.card.id)
        await self._core.announce_agent(run.agent_id)

    async def _nothing_changed(self, run: runs.RunRow, task: Task, result: str, recorder: Recorder) -> None:
        recorder.add(EventKind.STATE, {"state": "completed", "code": ErrorCode.TASK_NO_DIFF.value})
        await recorder.flush()

        def store(connection: tasks.Connection) -> None:
            now = self._core.clock.now()
            runs.set_status(connection, run.id, RunStatus.COMPLETED, now, result=result)
            tasks.set_fields(connection, task.card.id, now, code=ErrorCode.TASK_NO_DIFF.value)

        await self._core.db.write(store)

    async def _waiting(
        self,
        run: runs.RunRow,
        task: Task,
        project: Project,
        repository: Repository,
        row: WorktreeRow,
        taken: Snapshot,
        result: str,
        recorder: Recorder,
    ) -> None:
        base, stat = await compared(self._core, repository, task.base_branch or project.base_branch, taken)
        figures = {"files": stat.files, "added": stat.added, "removed": stat.removed}
        if row.merging is not None:
            recorder.add(EventKind.STATE, resolved(row.merging))
        recorder.add(EventKind.SNAPSHOT, {"sha": taken.sha, "base": base, **figures})
        recorder.add(EventKind.STATE, {"state": "completed"})
        await recorder.flush()
        entry = self._core.record(
            "snapshot",
            project.id,
            actor="engine",
            task=task.card,
            run_id=run.id,
            output={"sha": taken.sha, "base": base, **figures},
        )

        def store(connection: tasks.Connection) -> tuple[tuple[str, int], ...]:
            now = self._core.clock.now()
            runs.set_status(connection, run.id, RunStatus.COMPLETED, now, result=result)
            tasks.set_fields(connection, task.card.id, now, completed_at=now, **taken_fields(taken, base, stat))
            if row.merging is not None:
                worktrees.set_fields(connection, row.id, now, merging=None, base_sha=base)
            audit.append(connection, (entry,))
            target = after(Column.IN_PROGRESS, BoardEvent.COMPLETE)
            return tasks.move(connection, task.card.id, target, 0, now).renumbered

        renumbered = await self._core.db.write(store)
        await self._core.announce_task(task.card.id, renumbered)
