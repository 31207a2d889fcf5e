"""One round of checks: the merged tree is laid out, set up as a worktree is, and each check runs on it in the sandbox.

Outputs are kept in the card's session, and what came of each check in the audit log. Nothing here decides whether a
card may be merged.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agentpane.domain.checks import OUTPUT_SHOWN, Check, CheckResult, CheckState
from agentpane.domain.projects import ProjectConfig
from agentpane.domain.reach import reach
from agentpane.domain.rules import parse_all
from agentpane.domain.sessions import EventKind
from agentpane.domain.tasks import Task
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.runs.telling import TellingSandbox
from agentpane.orchestrator.sessions import Recorder
from agentpane.orchestrator.workspaces.workspace import INIT_SECONDS, INSTALL_SECONDS
from agentpane.sandbox import Outcome, Sandbox, SandboxCommand, tool_environment
from agentpane.temporary import TemporaryFolder
from agentpane.worktrees import Repository, Scratch

CHECKS_NOT_RUN = "checks_not_run"

Store = Callable[[CheckResult], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: what merging the card's snapshot would make of the commit `base`, and how it is set up."""

    task: Task
    repository: Repository
    config: ProjectConfig  # the project's, with what is trusted of the repository's
    base: str
    snapshot: str
    tree: str


class SetUpError(Exception):
    """The tree could not be made ready, so that no check was run on it."""


@dataclass(frozen=True, slots=True)
class CheckRound:
    """store: is given each result as it changes, and returns when it is stored and announced.

    remove: takes the folder of the round away, at once or later.
    """

    core: Core
    sandbox: Sandbox
    subject: Subject
    recorder: Recorder
    store: Store
    remove: Callable[[TemporaryFolder], None]

    async def play(self, checks: Sequence[Check], where: Path) -> None:
        """Run the checks one after the other, in a folder of their own inside `where` that goes afterwards."""
        try:
            where.mkdir(mode=0o700, exist_ok=True)
            folder = TemporaryFolder("checks", where)
        except OSError as error:
            await self._none(checks, f"No folder can be made in {where}: {error.strerror}.")
            return
        try:
            await self._play(checks, folder.path)
        finally:
            self.remove(folder)

    async def _play(self, checks: Sequence[Check], folder: Path) -> None:
        try:
            scratch = await self._ready(folder)
        except (AgentPaneError, SetUpError) as error:
            await self._none(checks, error.message if isinstance(error, AgentPaneError) else str(error))
            return
        config = self.subject.config
        used = config.install_command is not None or config.init_script is not None
        for check in checks:
            await self.store(self._result(check, CheckState.RUNNING))
            result, scratch = await self._run(check, scratch, used)
            await self.store(result)
            used = True

    async def _none(self, checks: Sequence[Check], why: str) -> None:
        self.recorder.add(EventKind.STATE, {"state": CHECKS_NOT_RUN, "message": why})
        for check in checks:
            await self.store(self._result(check, CheckState.NOT_RUN, output=why))

    async def _ready(self, folder: Path) -> Scratch:
        subject, config = self.subject, self.subject.config
        copies = tuple(dict.fromkeys((*((config.env_file,) if config.env_file else ()), *config.copy_files)))
        parents = (subject.base, subject.snapshot)
        scratch = await self.core.git.make_scratch(subject.repository, folder, subject.tree, parents, copies)
        steps = (
            ("install", config.install_command, INSTALL_SECONDS),
            ("init_script", config.init_script, INIT_SECONDS),
        )
        for name, script, seconds in steps:
            if script is None:
                continue
            outcome = await self._command(name, script, seconds, scratch)
            if outcome.timed_out or outcome.exit_code != 0:
                how = "took too long" if outcome.timed_out else f"ended with status {outcome.exit_code}"
                raise SetUpError(f"The {name.replace('_', ' ')} command {how}.\n{_end_of(outcome.output)}".rstrip())
        return scratch

    async def _run(self, check: Check, scratch: Scratch, used: bool) -> tuple[CheckResult, Scratch]:
        """used: something has run in the scratch, and may have changed files that are to be checked."""
        began = time.monotonic()
        try:
            if used:
                scratch = await self.core.git.set_scratch_back(self.subject.repository, scratch, self.subject.tree)
            outcome = await self._command(f"check {check.name}", check.command, check.timeout_s, scratch)
        except AgentPaneError as error:
            result = self._result(check, CheckState.NOT_RUN, output=error.message)
        else:
            state = CheckState.PASSED if outcome.exit_code == 0 else CheckState.FAILED
            state = CheckState.TIMED_OUT if outcome.timed_out else state
            output = "" if state is CheckState.PASSED else _end_of(outcome.output)
            result = self._result(check, state, outcome.exit_code, outcome.duration_ms / 1000, output)
        result = replace(result, at=self.core.clock.now())
        card = self.subject.task.card
        entry = self.core.record(
            "check",
            card.project_id,
            actor="engine",
            task=card,
            input={
                "name": check.name,
                "command": check.command,
                "required": check.required,
                "tree": result.tree,
                "tier": self.sandbox.tier.value,
            },
            output={"state": result.state.value, "exit_code": result.exit_code},
            error=None if result.state is CheckState.PASSED else result.how,
            duration_ms=round((time.monotonic() - began) * 1000),
        )
        await self.core.audit(entry)
        return result, scratch

    async def _command(self, step: str, script: str, seconds: float, scratch: Scratch) -> Outcome:
        """Run a command in the scratch, shown as it goes and kept in the session."""
        config = self.subject.config
        command = SandboxCommand(
            script=script,
            worktree=scratch.tree,
            readable=(self.subject.repository.common_dir,),
            writable=(scratch.git_dir,),
            environment=tool_environment(scratch.tree),
            timeout_s=seconds,
            network=reach(config.reach(), parse_all(config.rules)),
        )

        def show(part: bytes) -> None:
            self.recorder.show(0, "output", part.decode("utf-8", "replace"), step)

        telling = TellingSandbox(self.sandbox, partial(self.recorder.add, EventKind.STATE))
        outcome = await telling.run(command, show)
        data = {"step": step, "command": script, "output": outcome.output.decode("utf-8", "replace")}
        ended = {"exit_code": outcome.exit_code, "timed_out": outcome.timed_out, "tree": self.subject.tree}
        self.recorder.add(EventKind.TERMINAL_OUTPUT, {**data, **ended})
        await self.recorder.flush()
        return outcome

    def _result(
        self,
        check: Check,
        state: CheckState,
        exit_code: int | None = None,
        seconds: float | None = None,
        output: str = "",
    ) -> CheckResult:
        return CheckResult(check.name, check.required, state, exit_code, seconds, self.subject.tree, None, output)


def _end_of(output: bytes) -> str:
    text = output.decode("utf-8", "replace").rstrip()
    return text if len(text) <= OUTPUT_SHOWN else "…" + text[-OUTPUT_SHOWN:]
