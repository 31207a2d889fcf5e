"""The worktree of a task: made ready for a run, and taken away again without losing anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from agentpane.db import tasks, worktrees
from agentpane.domain.branches import branch_name
from agentpane.domain.ids import RunId, TaskId
from agentpane.domain.json import JsonObject
from agentpane.domain.projects import Project, ProjectConfig
from agentpane.domain.reach import reach
from agentpane.domain.rules import parse_all
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.domain.worktrees import WorktreeRow, WorktreeStatus
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping import relaying
from agentpane.orchestrator.keeping.left_alone import check_its_folder, why_left_alone
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.removal import Removal, as_worktree
from agentpane.orchestrator.keeping.unmade import Unmade
from agentpane.orchestrator.merging.resolutions import Resolutions
from agentpane.orchestrator.runs import prompts
from agentpane.orchestrator.runs.telling import TellingSandbox
from agentpane.orchestrator.sessions import Recorder
from agentpane.orchestrator.workspaces.handover import Handover
from agentpane.sandbox import Sandbox, SandboxCommand, tool_environment
from agentpane.worktrees import CreatedWorktree, Repository, Worktree, WorktreePlan

log = logging.getLogger(__name__)

INSTALL_SECONDS = 300.0
INIT_SECONDS = 600.0


class Workspaces:
    """Makes, finds and removes worktrees; every one has a row, and only those are touched."""

    def __init__(self, core: Core, sandbox: Sandbox, bin_: RecoveryBin, handover: Handover) -> None:
        self._core = core
        self._sandbox = sandbox
        self._handover = handover
        self._bin = bin_
        self._resolutions = Resolutions(core, bin_)
        self.unmade = Unmade(core, bin_)
        self.take_away = Removal(core, bin_, self._resolutions).take_away

    async def ready(
        self,
        task: Task,
        project: Project,
        config: ProjectConfig,
        repository: Repository,
        run_id: RunId,
        recorder: Recorder,
    ) -> Worktree:
        """The task's worktree, made and set up where it is not there yet.

        Raises AgentPaneError with a WORKTREE_ code; what was half made is recorded as `error`.
        """
        row = await relaying.taken_back(self._core, task, repository)
        if row is not None and row.status is WorktreeStatus.CREATING:  # what was in it could not be kept when it failed
            row = await self.unmade.take_away(row, repository, "not made to the end")
        if row is not None and await relaying.is_its_own(self._core, task, row, repository):
            row, worktree = await self._found(row, repository, recorder)
        else:
            row, worktree = await self._made(task, project, config, repository, recorder)
        row = await self.settle(row, repository, partial(recorder.add, EventKind.STATE))
        await self._set_up(row, worktree, config, repository, recorder)
        return worktree

    async def settle(self, row: WorktreeRow, repository: Repository, say: Callable[[JsonObject], None]) -> WorktreeRow:
        """Write a conflict into its worktree, or set it back from one, where that is still to be done."""
        done = await self._resolutions.settle(row, as_worktree(row), repository)
        if done.recovery is not None:
            say({"state": "worktree_kept", "recovery": done.recovery})
        return done.row

    async def existing(self, task: Task, repository: Repository) -> Worktree:
        """The task's worktree as it stands. Raises AgentPaneError with WORKTREE_NOT_FOUND."""
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        if row is None or row.status is not WorktreeStatus.ACTIVE or not Path(row.path).is_dir():
            raise AgentPaneError(
                ErrorCode.WORKTREE_NOT_FOUND,
                "The card's worktree is not there.",
                hint="Resume the run: the worktree is made again from its branch. Nothing has changed.",
            )
        await self.check_its_folder(row, repository)
        return as_worktree(row)

    async def check_its_folder(self, row: WorktreeRow, repository: Repository) -> None:
        """See `left_alone.check_its_folder`."""
        await check_its_folder(self._core, row, as_worktree(row), repository)

    async def left_alone(self, task: Task, repository: Repository | None) -> AgentPaneError | None:
        """Why `discard` would forget the task's worktree and leave it where it is; None when it would not."""
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        return None if row is None else await why_left_alone(self._core, row, as_worktree(row), repository)

    async def discard(
        self, task: Task, repository: Repository | None, reason: str, *, delete_branch_at: str | None
    ) -> str | None:
        """Keep a recovery snapshot, then remove the task's worktree. Returns the recovery's ref, if there is one.

        repository: None when it is not where it was; then the worktree is left as it is.
        delete_branch_at: delete the branch too, if it is at this commit; None keeps it.
        Raises AgentPaneError with WORKTREE_REMOVAL_FAILED; then everything is still there. A branch that cannot be
        deleted stays, and the row says why.
        """
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        if row is None or row.status is WorktreeStatus.REMOVED:
            return None
        return await self.take_away(row, repository, reason, task=task, delete_branch_at=delete_branch_at)

    async def why_not_ours(self, row: WorktreeRow, repository: Repository) -> str | None:
        """What speaks against a row's worktree being ours, in words; None when all agrees."""
        return await self._core.git.why_not_ours(repository, as_worktree(row))

    async def bring_back(self, task: Task, repository: Repository, commit: str, base: str) -> None:
        """The worktree and the branch of a card whose merge was undone; the branch at `commit`, if it was gone.

        A worktree that cannot be made now is made when a run needs it.
        """
        row = await self._core.db.read(worktrees.for_task, task.card.id)
        if row is not None and row.status is not WorktreeStatus.REMOVED:
            at = await self._core.git.branch_tip(repository, row.branch)
            if row.status is WorktreeStatus.ACTIVE and at == commit:
                return
            # It has outlived its approval, and holds what was approved then.
            await self.discard(task, repository, "undo", delete_branch_at=task.snapshot)
            row = await self._core.db.read(worktrees.get, row.id)
        if row is None or row.status is not WorktreeStatus.REMOVED:
            return
        if await self._core.git.branch_tip(repository, row.branch) is None:
            await self._core.git.restore_branch(repository, row.branch, commit)
        row = await self._core.db.write(worktrees.set_fields, row.id, self._core.clock.now(), base_sha=base)
        try:
            await self.make_again(row, repository)
        except AgentPaneError as error:
            log.warning("the worktree of task %s is made later: %s", task.card.id, error.message)

    async def _found(
        self, row: WorktreeRow, repository: Repository, recorder: Recorder
    ) -> tuple[WorktreeRow, Worktree]:
        worktree = as_worktree(row)
        await self.check_its_folder(row, repository)
        if worktree.path.is_dir() and row.status is WorktreeStatus.ACTIVE:
            return row, worktree
        elsewhere = await self._core.git.moved_to(repository, worktree)
        if elsewhere is not None:
            raise AgentPaneError(
                ErrorCode.WORKTREE_NOT_FOUND,
                f"The card's worktree was moved to {elsewhere}.",
                hint="`agentpane doctor --fix` lets the card follow it. Nothing has changed.",
            )
        row, again = await self.make_again(row, repository)
        data = {"state": "made_again", "path": str(again.path), "branch": again.branch}
        recorder.add(EventKind.WORKTREE, {**data, "text": prompts.WORKTREE_ANEW})
        await self._core.audit(
            self._core.record("worktree.create", row.project_id, actor="engine", task_id=row.task_id, input=data)
        )
        return row, again.worktree

    async def make_again(self, row: WorktreeRow, repository: Repository) -> tuple[WorktreeRow, CreatedWorktree]:
        """See `relaying.lay_again`."""
        return await relaying.lay_again(self._core, self._bin, row, repository)

    async def _made(
        self, task: Task, project: Project, config: ProjectConfig, repository: Repository, recorder: Recorder
    ) -> tuple[WorktreeRow, Worktree]:
        tip = await self._core.git.base_branch(repository, project.base_branch)
        branch = branch_name(task.card.title, task.card.id)
        path = worktree_root(project, config) / branch.split("/", 1)[-1]
        new = worktrees.NewWorktree(
            project_id=project.id,
            task_id=task.card.id,
            branch=branch,
            base_branch=tip.branch,
            base_sha=tip.sha,
            path=str(path),
        )
        copies = tuple(dict.fromkeys((*((config.env_file,) if config.env_file else ()), *config.copy_files)))
        row, made = await self._taken_over(new, repository, copies) or await self._checked_out(new, repository, copies)
        row = await self._core.db.write(self._store_made, row, made, task.card.id, copies)
        data = {
            "state": "created",
            "path": row.path,
            "branch": row.branch,
            "base": tip.sha,
            "copied": list(made.copied),
        }
        recorder.add(EventKind.WORKTREE, data)
        entry = self._core.record("worktree.create", project.id, actor="engine", task=task.card, input=data)
        await self._core.audit(entry)
        await self._core.announce_task(task.card.id, counts=False)
        return row, made.worktree

    async def _taken_over(
        self, new: worktrees.NewWorktree, repository: Repository, copies: tuple[str, ...]
    ) -> tuple[WorktreeRow, CreatedWorktree] | None:
        """A worktree that was kept ready, with the listed files in it; None when none serves."""
        taken = await self._handover.take(new, repository, copies)
        if taken is None:
            return None
        row, card = taken
        try:
            if await self._core.git.ready.is_untouched(repository, card):
                copied = await self._core.git.ready.copy_files(repository, card, copies)
                return row, CreatedWorktree(card.path, card.branch, card.git_dir, copied, card.mark)
        except AgentPaneError:
            await self.take_away(row, repository, "not made to the end", delete_branch_at=new.base_sha)
            raise
        # Some program has gone through it. What it wrote is kept, and not shown to the agent as the base's.
        try:
            await self.take_away(row, repository, "changed while it was kept ready", delete_branch_at=new.base_sha)
        except AgentPaneError as error:
            failed = {"status": WorktreeStatus.ERROR, "last_error": error.message}
            now = self._core.clock.now()
            await self._core.db.write(partial(worktrees.set_fields, worktree_id=row.id, at=now, **failed))
        return None

    async def _checked_out(
        self, new: worktrees.NewWorktree, repository: Repository, copies: tuple[str, ...]
    ) -> tuple[WorktreeRow, CreatedWorktree]:
        row = await self._core.db.write(worktrees.create, new, self._core.clock.now())
        plan = WorktreePlan(Path(new.path), new.branch, new.base_sha, copies, row.id)
        try:
            return row, await self._core.git.create_worktree(repository, plan, partial(relaying.named, self._core, row))
        except BaseException as error:
            words = error.message if isinstance(error, AgentPaneError) else "It was stopped while it was being made."
            left = await self.unmade.settle(row, repository, new.base_sha)
            status = {"status": WorktreeStatus.ERROR} if left.gone else {}
            now = self._core.clock.now()
            await self._core.db.write(
                partial(worktrees.set_fields, worktree_id=row.id, at=now, last_error=left.noted(words), **status)
            )
            left.tell(error)
            raise

    def _store_made(
        self,
        connection: worktrees.Connection,
        row: WorktreeRow,
        made: CreatedWorktree,
        task_id: TaskId,
        copies: tuple[str, ...],
    ) -> WorktreeRow:
        now = self._core.clock.now()
        stored = worktrees.set_fields(
            connection,
            row.id,
            now,
            status=WorktreeStatus.ACTIVE,
            path=str(made.path),
            git_dir=str(made.git_dir),
            branch=made.branch,
            copied=copies,
            env_copied=bool(made.copied),
        )
        tasks.set_fields(
            connection,
            task_id,
            now,
            branch=made.branch,
            base_branch=row.base_branch,
            base_sha=row.base_sha,
            worktree_id=row.id,
        )
        return stored

    async def _set_up(
        self, row: WorktreeRow, worktree: Worktree, config: ProjectConfig, repository: Repository, recorder: Recorder
    ) -> None:
        steps = (
            ("install", config.install_command, row.deps_installed, "deps_installed", INSTALL_SECONDS),
            ("init_script", config.init_script, row.init_script_run, "init_script_run", INIT_SECONDS),
        )
        for name, script, done, flag, seconds in steps:
            if script is None or done:
                continue
            await self._run_step(name, script, seconds, worktree, config, repository, recorder)
            await self._core.db.write(worktrees.set_fields, row.id, self._core.clock.now(), **{flag: True})

    async def _run_step(
        self,
        name: str,
        script: str,
        seconds: float,
        worktree: Worktree,
        config: ProjectConfig,
        repository: Repository,
        recorder: Recorder,
    ) -> None:
        command = SandboxCommand(
            script=script,
            worktree=worktree.path,
            readable=(repository.common_dir,),
            environment=tool_environment(worktree.path),
            timeout_s=seconds,
            network=reach(config.reach(), parse_all(config.rules)),
        )

        def show(part: bytes) -> None:
            recorder.show(0, "output", part.decode("utf-8", "replace"), name)

        telling = TellingSandbox(self._sandbox, partial(recorder.add, EventKind.STATE))
        outcome = await telling.run(command, show)
        output = outcome.output.decode("utf-8", "replace")
        recorder.add(
            EventKind.TERMINAL_OUTPUT,
            {"step": name, "command": script, "output": output, "exit_code": outcome.exit_code},
        )
        if outcome.timed_out or outcome.exit_code != 0:
            how = f"took longer than {seconds:.0f} s" if outcome.timed_out else f"ended with status {outcome.exit_code}"
            raise AgentPaneError(
                ErrorCode.WORKTREE_INIT_SCRIPT_FAILED,
                f"The {name.replace('_', ' ')} command {how}.",
                hint="Its output is in the session. Correct it in the project's settings, then resume the run.",
                details={"step": name, "output": output[-2_000:]},
            )


def worktree_root(project: Project, config: ProjectConfig) -> Path:
    """The folder that holds the project's worktrees, absolute."""
    root = Path(config.worktree_root).expanduser()
    return root if root.is_absolute() else Path(project.path) / root
