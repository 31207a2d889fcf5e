"""What becomes of an agent's work when it stops: a snapshot to review, or the word that nothing changed."""

from __future__ import annotations

from agentpane.db import audit, runs, tasks, worktrees
from agentpane.domain.board import BoardEvent, Column, after
from agentpane.domain.projects import Project
from agentpane.domain.runs import RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.credentials import Credentials
from agentpane.orchestrator.sessions import Recorder
from agentpane.worktrees import NothingChanged, Repository, Snapshot, Worktree


class Completion:
    """Ends a run that its agent, or the person, calls done."""

    def __init__(self, core: Core, credentials: Credentials) -> None:
        self._core = core
        self._credentials = credentials

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

        Raises AgentPaneError with WORKTREE_NESTED_REPO or VALIDATION_ERROR (files too large) when the
        worktree cannot be committed as it is; then nothing has moved.
        """
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        assert row is not None and row.base_sha is not None
        message = f"{task.card.title}\n\nTask: {task.card.id}\nAgent: {run.agent}\nRun: {run.id}\n"
        taken = await self._core.git.snapshot(repository, worktree, row.base_sha, run.id, message, row.copied)
        if isinstance(taken, NothingChanged):
            await self._nothing_changed(run, task, result, recorder)
        else:
            await self._waiting(run, task, project, repository, taken, result, recorder)
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
        taken: Snapshot,
        result: str,
        recorder: Recorder,
    ) -> None:
        tip = await self._core.git.branch_tip(repository, task.base_branch or project.base_branch)
        base = await self._core.git.merge_base(repository, tip, taken.sha) if tip else taken.base
        figures = {"files": taken.stat.files, "added": taken.stat.added, "removed": taken.stat.removed}
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
            tasks.set_fields(
                connection,
                task.card.id,
                now,
                snapshot=taken.sha,
                base_sha=base,
                files_changed=taken.stat.files,
                lines_added=taken.stat.added,
                lines_removed=taken.stat.removed,
                code=None,
                conflicts=(),
                completed_at=now,
            )
            audit.append(connection, (entry,))
            target = after(Column.IN_PROGRESS, BoardEvent.COMPLETE)
            return tasks.move(connection, task.card.id, target, 0, now).renumbered

        renumbered = await self._core.db.write(store)
        await self._core.announce_task(task.card.id, renumbered)
