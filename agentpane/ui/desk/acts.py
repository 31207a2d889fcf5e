"""What the actions on tasks and projects do: one command each, an outcome in words, nothing decided here."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QUrl, Signal, SignalInstance
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QWidget

from agentpane.api import commands
from agentpane.domain.agents import BackendName
from agentpane.domain.board import Column
from agentpane.domain.budgets import Budget
from agentpane.domain.json import JsonObject
from agentpane.domain.review import ApproveOutcome, ApproveResult, MergeStrategy, ReviewComment
from agentpane.domain.runs import PauseReason
from agentpane.domain.tasks import TaskCard
from agentpane.ui.cards.going_words import gone_words
from agentpane.ui.desk.actions import Actions, applicable
from agentpane.ui.desk.jobs import Jobs
from agentpane.ui.desk.known import Known
from agentpane.ui.desk.link import Link, model_environment
from agentpane.ui.desk.notices import Toasts
from agentpane.ui.parts.plain import display_path, elide, one_line

# A command or a recording does one thing from beginning to end.
UNABLE_TO_PLAN = frozenset({BackendName.COMMAND, BackendName.RECORDED})


class Acts(QObject):
    """Acts on the task at hand: the one that is selected on the board, opened in the panel or under review.

    sees: whether a task can be seen where the person is. One that cannot is not acted on.
    """

    task_changed = Signal(str)  # another task is at hand
    made = Signal(str)  # the person has written a new task
    open_requested = Signal(str)
    review_requested = Signal(str)
    message_requested = Signal(str)
    edit_requested = Signal(str)
    approve_requested = Signal(str)
    reject_requested = Signal(str)
    stop_requested = Signal(str)
    delete_requested = Signal(str)
    archive_requested = Signal(str)
    afresh_requested = Signal(str)
    set_back_requested = Signal(str, str, str)  # task, snapshot of a turn, what is said of it
    bin_requested = Signal()
    more_requested = Signal(str)  # more of a budget that is used up
    approved = Signal(str, object)  # task, ApproveOutcome
    rejected = Signal(str)
    answered = Signal(str)  # the engine has said what came of an approval, or has failed
    handed_over = Signal(str)  # its agent resolves the conflict

    def __init__(self, window: QWidget, link: Link, jobs: Jobs, known: Known, actions: Actions, toasts: Toasts) -> None:
        super().__init__(window)
        self._link, self._jobs, self._known, self._actions, self._toasts = link, jobs, known, actions, toasts
        self.task_id = ""
        self.sees: Callable[[str], bool] = lambda _: True
        self._connect()
        actions.allow(frozenset())
        known.board.counted.connect(self.refresh)
        known.board_loaded.connect(self.refresh)
        known.agents_changed.connect(self.refresh)
        known.board.touched.connect(self._touched)

    def _connect(self) -> None:
        for action_id, signal in (
            ("task.open", self.open_requested),
            ("task.review", self.review_requested),
            ("task.message", self.message_requested),
            ("task.edit", self.edit_requested),
            ("task.approve", self.approve_requested),
            ("task.reject", self.reject_requested),
            ("task.stop", self.stop_requested),
            ("task.delete", self.delete_requested),
            ("task.archive", self.archive_requested),
            ("task.afresh", self.afresh_requested),
        ):
            self._actions.on(action_id, partial(self._announce, signal))
        self._actions.on("task.run", lambda: self.run(self.task_id))
        self._actions.on("task.plan", lambda: self.run(self.task_id, plan=True))
        self._actions.on("task.pause", lambda: self.pause(self.task_id))
        self._actions.on("task.resume", lambda: self._go_on(self.task_id))
        self._actions.on("task.undo", lambda: self.undo(self.task_id))
        for action_id, act in (
            ("task.hand_over", self.hand_over),
            ("task.resolve", self.write_conflict),
            ("task.take", self.take_resolution),
            ("task.abandon", self.abandon_resolution),
            ("task.checks", self.run_checks),
            ("task.stop_checks", self.stop_checks),
            ("task.folder", self.open_folder),
        ):
            self._actions.on(action_id, partial(self._at_hand, act))
        self._actions.on("task.finish", lambda: self.resume(self.task_id, finish=True))

    def _announce(self, signal: SignalInstance) -> None:
        signal.emit(self.task_id)

    def _at_hand(self, act: Callable[[str], None]) -> None:
        act(self.task_id)

    def take(self, task_id: str) -> None:
        """Make a task the one at hand; empty: none."""
        if task_id != self.task_id:
            self.task_id = task_id
            self.task_changed.emit(task_id)
        self.refresh()

    def card(self) -> TaskCard | None:
        return self._known.board.card(self.task_id) if self.task_id else None

    def _touched(self, task_id: str) -> None:
        if task_id == self.task_id:
            self.refresh()

    def refresh(self) -> None:
        card = self.card() if self.sees(self.task_id) else None
        wanted = applicable(card)
        agent = self._known.agents.get(card.agent_id or "") if card is not None else None
        if agent is not None and agent.backend in UNABLE_TO_PLAN:
            wanted -= {"task.plan"}
        self._actions.allow(wanted)

    # Runs

    def run(self, task_id: str, *, plan: bool | None = None) -> None:
        """plan: begin with a plan that the person approves; None: as the agent is configured."""
        command = commands.StartRun(task_id, environment=model_environment(), plan=plan)
        self._jobs.start(self._link.do(command), self.tr("Starting the run"))

    def pause(self, task_id: str) -> None:
        self._jobs.start(self._pause(task_id), self.tr("Pausing the run"))

    def _go_on(self, task_id: str) -> None:
        card = self._known.board.card(task_id)
        if card is not None and card.run is not None and card.run.pause_reason is PauseReason.BUDGET:
            self.more_requested.emit(task_id)
        else:
            self.resume(task_id)

    def resume(self, task_id: str, *, afresh: bool = False, finish: bool = False, budget: Budget | None = None) -> None:
        command = commands.ResumeRun(
            task_id, afresh=afresh, finish=finish, environment=model_environment(), budget=budget
        )
        self._jobs.start(self._link.do(command), self.tr("Resuming the run"))

    def answer(self, task_id: str, text: str) -> None:
        self._jobs.start(
            self._link.do(commands.Answer(task_id, text, environment=model_environment())),
            self.tr("Sending the message"),
        )

    def decide(
        self,
        approval: str,
        *,
        allow: bool,
        always: bool = False,
        message: str = "",
        edited: JsonObject | None = None,
    ) -> None:
        """edited: the input with which the call is made instead."""
        command = commands.DecideApproval(
            approval, allow, always, message, edited=edited, environment=model_environment()
        )
        self._jobs.start(self._link.do(command), self.tr("Sending the decision"))

    def put_back(self, task_id: str, position: int | None = None, *, confirmed: bool = False) -> None:
        """Stop its run and put the card in the backlog. confirmed: the person knows that a diff waits for approval."""
        self._jobs.start(self._put_back(task_id, position, confirmed), self.tr("Putting the card back"))

    # Cards

    def move(self, task_id: str, column: Column, position: int) -> None:
        command = commands.MoveTask(task_id, column, position, model_environment())
        self._jobs.start(self._link.do(command), self.tr("Moving the card"))

    def delete(self, task_id: str) -> None:
        self._jobs.start(self._delete(task_id), self.tr("Deleting the task"))

    # Review

    def approve(self, task_id: str, sha: str | None, strategy: MergeStrategy) -> None:
        self._jobs.start(self._approve(task_id, sha, strategy), self.tr("Merging"))

    def reject(self, task_id: str, reason: str, comments: tuple[ReviewComment, ...]) -> None:
        self._jobs.start(self._reject(task_id, reason, comments), self.tr("Sending the card back"))

    def undo(self, task_id: str) -> None:
        self._jobs.start(self._undo(task_id), self.tr("Undoing the merge"))

    # Conflicts and checks

    def hand_over(self, task_id: str) -> None:
        self._jobs.start(self._hand_over(task_id), self.tr("Handing the conflict to the agent"))

    def write_conflict(self, task_id: str) -> None:
        self._jobs.start(self._link.do(commands.WriteConflict(task_id)), self.tr("Writing the conflict"))

    def take_resolution(self, task_id: str) -> None:
        self._jobs.start(self._take_resolution(task_id), self.tr("Taking the resolution"))

    def abandon_resolution(self, task_id: str) -> None:
        self._jobs.start(self._abandon(task_id), self.tr("Giving the resolution up"))

    def run_checks(self, task_id: str) -> None:
        self._jobs.start(self._link.do(commands.RunChecks(task_id)), self.tr("Running the checks"))

    def stop_checks(self, task_id: str) -> None:
        self._jobs.start(self._link.do(commands.StopChecks(task_id)), self.tr("Stopping the checks"))

    def open_folder(self, task_id: str) -> None:
        """Show the worktree in the system's own program for folders."""
        self._jobs.start(self._open_folder(task_id), self.tr("Opening the worktree"))

    def reset_worktree(self, task_id: str, sha: str) -> None:
        self._jobs.start(self._reset(task_id, sha), self.tr("Setting the worktree back"))

    # Projects

    def add_project(self, path: str) -> None:
        self._jobs.start(self._add_project(path), self.tr("Adding the project"))

    def show_project(self, project_id: str) -> None:
        self._jobs.start(self._known.show(project_id), self.tr("Reading the board"))

    async def _pause(self, task_id: str) -> None:
        await self._link.do(commands.PauseRun(task_id))
        self._toasts.say(self.tr("The run pauses after the block that is being written."), "note")

    async def _put_back(self, task_id: str, position: int | None, confirmed: bool) -> None:
        done = await self._link.do(commands.PutBack(task_id, confirmed, position))
        words = self.tr("Back in the backlog: {0}.").format(short(done.task.card.title)) + gone_words(done)
        self._toasts.say(words, act=(self.tr("Look"), self.bin_requested.emit) if done.kept is not None else None)

    async def _delete(self, task_id: str) -> None:
        task = await self._link.do(commands.DeleteTask(task_id))
        self._toasts.say(self.tr("Deleted: {0}").format(short(task.card.title)))

    async def _approve(self, task_id: str, sha: str | None, strategy: MergeStrategy) -> None:
        try:
            outcome: ApproveOutcome = await self._link.do(commands.Approve(task_id, sha, strategy))
        finally:
            self.answered.emit(task_id)
        if outcome.result is ApproveResult.MERGED:
            commit = (outcome.merge_commit or "")[:10]
            words, act = self.tr("Merged as {0}").format(commit), None
            if outcome.recovery is not None:
                words += ". " + self.tr("What its worktree held beyond that is in the recovery bin.")
                act = (self.tr("Look"), self.bin_requested.emit)
            self._toasts.say(words, act=act)
        self.approved.emit(task_id, outcome)

    async def _undo(self, task_id: str) -> None:
        task = await self._link.do(commands.Undo(task_id))
        words = self.tr("Undone: {0} waits for your approval again.").format(short(task.card.title))
        self._toasts.say(words)

    async def _open_folder(self, task_id: str) -> None:
        task = await self._link.do(commands.GetTask(task_id))
        if task.worktree is None:
            self._toasts.say(self.tr("This card has no worktree now."), "note")
        else:
            self.show_folder(task.worktree)

    def show_folder(self, path: str) -> None:
        """Show a folder in the system's own program for folders; where there is none, say where it is."""
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(path)):
            self._toasts.say(self.tr("The worktree is {0}.").format(display_path(path)), "note")

    async def _hand_over(self, task_id: str) -> None:
        await self._link.do(commands.HandOverConflict(task_id, environment=model_environment()))
        self._toasts.say(self.tr("Its agent resolves the conflict; then the card comes back for review."))
        self.handed_over.emit(task_id)

    async def _take_resolution(self, task_id: str) -> None:
        await self._link.do(commands.TakeResolution(task_id))
        self._toasts.say(self.tr("Taken: both sides are in it. Review it, then approve."))

    async def _abandon(self, task_id: str) -> None:
        await self._link.do(commands.AbandonResolution(task_id))
        self._toasts.say(self.tr("Given up. What the worktree held is in the recovery bin."))

    async def _reset(self, task_id: str, sha: str) -> None:
        await self._link.do(commands.ResetWorktree(task_id, sha))
        self._toasts.say(self.tr("Set back. What the worktree held is in the recovery bin."))

    async def _reject(self, task_id: str, reason: str, comments: tuple[ReviewComment, ...]) -> None:
        await self._link.do(commands.Reject(task_id, reason, comments, environment=model_environment()))
        self._toasts.say(self.tr("Sent back to the agent with your reason."))
        self.rejected.emit(task_id)

    async def _add_project(self, path: str) -> None:
        project = await self._link.do(commands.AddProject(path))
        self._known.apply_project(project)
        await self._known.show(project.id)
        self._toasts.say(self.tr("Added {0}, base branch {1}.").format(project.name, project.base_branch))


def short(title: str) -> str:
    return elide(one_line(title), 60)


def local_folder(path: str) -> str:
    """The folder that a dropped path stands for: itself, or the one that a file lies in."""
    place = Path(path)
    return str(place if place.is_dir() else place.parent)
