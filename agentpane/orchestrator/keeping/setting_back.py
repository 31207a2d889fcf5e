"""A card's worktree set back: to the files that one of its turns left, or to the commit that its work began at.

Never without a recovery. Beginning afresh moves the branch, HEAD and the index as well, and what the branch held is in
the recovery bin; going back to a turn leaves them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentpane.api import commands as c
from agentpane.db import audit, projects, turns, worktrees
from agentpane.db.turns import TurnRow
from agentpane.domain.board import COLUMN_TITLES, Column
from agentpane.domain.gitpaths import display_path
from agentpane.domain.json import JsonObject
from agentpane.domain.limits import invalid
from agentpane.domain.runs import ACTIVE, Run, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping import relaying
from agentpane.orchestrator.keeping.branch_back import branch_back
from agentpane.orchestrator.keeping.left_alone import check_its_folder
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.removal import as_worktree
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.supervisor import Supervisor
from agentpane.orchestrator.sessions import note
from agentpane.worktrees import Repository

SHORTEST = 4  # characters of a sha that are taken for its beginning


@dataclass(frozen=True, slots=True)
class SettingBack:
    core: Core
    blobs: BlobStore
    bin: RecoveryBin
    supervisor: Supervisor

    async def reset(self, command: c.ResetWorktree) -> Task:
        """See `commands.ResetWorktree`."""
        task = await self.core.task(command.task)
        async with self.core.task_locks.of(task.card.id):
            task = await self.core.task(task.card.id)
            run = _resting(task)
            turn = _chosen(await self.core.db.read(turns.of_task, task.card.id), command.sha)
            told: JsonObject = {"state": "set_back", "turn": turn.turn, "text": prompts.set_back(turn.turn)}
            await self._rest(run)
            async with self.core.task_locks.of(f"run:{task.card.id}"):
                await self._set_back(task, run, turn.sha, turn.left_out, "reset", told)
        await self.core.announce_task(task.card.id, counts=False)
        return await self.core.task(task.card.id)

    async def to_base(self, task: Task, run: Run) -> None:
        """For an agent that begins anew: the worktree as its work began.

        One that was taken away is laid out again from its branch first, since its agent would find that; a card that
        gets a new one finds it so anyway. The caller holds the task's lock. Raises what keeping a recovery raises, and
        WORKTREE_CREATION_FAILED; nothing has changed then.
        """
        row = await self.core.db.read(worktrees.for_task, task.card.id)
        if row is None:
            return
        there = _is_there(row)
        repository = await self._repository(task)
        if not there and not await self._can_be_laid_again(task, row, repository):
            return
        _check_no_resolution(task)
        await self._rest(run)
        if not there:
            await branch_back(self.core, row, repository, task.snapshot, row.base_sha)
            await relaying.lay_again(self.core, self.bin, row, repository)
        async with self.core.task_locks.of(f"run:{task.card.id}"):
            begun: JsonObject = {"state": "set_back", "turn": 0}
            await self._set_back(task, run, row.base_sha or "", (), "retry afresh", begun, branch=True)

    async def _rest(self, run: Run) -> None:
        """The job of a paused run may wait, alive, for a decision; the run goes on from its session without it."""
        await self.supervisor.rest(run.id)

    async def _set_back(
        self,
        task: Task,
        run: Run,
        commit: str,
        stays: tuple[str, ...],
        reason: str,
        told: JsonObject,
        branch: bool = False,
    ) -> None:
        row = await self._row(task)
        repository = await self._repository(task)
        await check_its_folder(self.core, row, as_worktree(row), repository)
        await self._check_base(row, commit, repository)
        worktree = as_worktree(row)
        await branch_back(self.core, row, repository, task.snapshot, row.base_sha)  # else there is no HEAD
        kept: list[str] = []  # more than one where something was saved meanwhile

        async def keep(also: tuple[str, ...]) -> None:
            away = commit if branch else None
            ref = await self.bin.keep(task.card.id, row, worktree, repository, reason, also, away)
            kept.extend([ref] if ref is not None else [])

        stays = (*row.copied, *stays)
        changed = await self.core.git.set_back(repository, worktree, commit, stays, keep, branch)
        output: JsonObject = {"sha": commit, "files": changed, "recovery": kept[0] if kept else None}
        data = {**told, **output, "path": row.path, "branch": row.branch}
        await note(self.core, self.blobs, task, run.id, EventKind.WORKTREE, data)
        for ref in kept[1:]:
            later: JsonObject = {"state": "worktree_kept", "recovery": ref}
            await note(self.core, self.blobs, task, run.id, EventKind.STATE, later)
        entry = self.core.record(
            "worktree.set_back",
            task.card.project_id,
            task=task.card,
            run_id=run.id,
            input={"path": row.path, "reason": reason},
            output=output,
        )
        await self.core.db.write(audit.append, (entry,))

    async def _can_be_laid_again(self, task: Task, row: WorktreeRow, repository: Repository) -> bool:
        if not await relaying.is_its_own(self.core, task, row, repository):
            return False
        return await self.core.git.moved_to(repository, as_worktree(row)) is None  # the run says where it is

    async def _repository(self, task: Task) -> Repository:
        project = await self.core.db.read(projects.get, task.card.project_id)
        return await self.core.git.open_repository(Path(project.path))

    async def _check_base(self, row: WorktreeRow, commit: str, repository: Repository) -> None:
        """Files from before the base branch was merged in lack what came from there: it would be taken back unseen."""
        base = row.base_sha
        if base is not None and await self.core.git.merge_base(repository, commit, base) != base:
            raise invalid(
                "sha",
                f"This turn ended before {display_path(row.base_branch)} was merged into the card.",
                "Choose a later turn. Nothing has changed.",
            )

    async def _row(self, task: Task) -> WorktreeRow:
        row = await self.core.db.read(worktrees.for_task, task.card.id)
        if row is None or not _is_there(row):
            raise AgentPaneError(
                ErrorCode.WORKTREE_NOT_FOUND,
                "The card's worktree is not there.",
                hint="Resume the run: the worktree is made again from its branch. Nothing has changed.",
            )
        return row


def _is_there(row: WorktreeRow) -> bool:
    return row.status is WorktreeStatus.ACTIVE and Path(row.path).is_dir()


def _resting(task: Task) -> Run:
    """The card's newest run, if its worktree may be set back under it."""
    run = task.runs[-1] if task.runs else None
    if task.card.column is not Column.IN_PROGRESS or run is None:
        raise AgentPaneError(
            ErrorCode.TASK_NOT_IN_COLUMN,
            f"The card is in {COLUMN_TITLES[task.card.column]}; a worktree is set back in In Progress only.",
            hint="Reject a diff that waits for approval with a reason first. Nothing has changed.",
            details={"column": task.card.column.value},
        )
    if run.status in {RunStatus.QUEUED, *ACTIVE}:
        raise AgentPaneError(
            ErrorCode.AGENT_ALREADY_RUNNING,
            f"{run.agent} works on this card ({run.status}).",
            hint="Pause it first: agentpane task show tells when it has paused. Nothing has changed.",
        )
    _check_no_resolution(task)
    return run


def _check_no_resolution(task: Task) -> None:
    if task.card.resolving is not None:
        raise AgentPaneError(
            ErrorCode.RESOURCE_LOCKED,
            f"A conflict with {task.card.resolving.target} is being resolved in this worktree.",
            hint="Finish or abandon that first. Nothing has changed.",
        )


def _chosen(kept: tuple[TurnRow, ...], sha: str) -> TurnRow:
    found = [row for row in kept if row.sha == sha or (len(sha) >= SHORTEST and row.sha.startswith(sha))]
    hint = "`agentpane session turns` shows what the turns of this card left. Nothing has changed."
    if not found:
        raise invalid("sha", f"No turn of this card has left “{sha}”.", hint)
    if len({row.sha for row in found}) > 1:
        raise invalid("sha", f"“{sha}” may mean several: {', '.join(row.sha[:12] for row in found)}.", hint)
    return found[-1]
