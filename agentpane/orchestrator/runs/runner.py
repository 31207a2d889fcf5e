"""One run, from its place in the queue to its pause or end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

from agentpane.db import agents, approvals, projects, runs, settings, sub_runs
from agentpane.domain import traces, transcript
from agentpane.domain.agents import BackendName
from agentpane.domain.ids import RunId
from agentpane.domain.json import JsonObject
from agentpane.domain.repoconfig import merged
from agentpane.domain.runs import ACTIVE, PauseReason, RunError, RunStatus
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.agents.credentials import Credentials
from agentpane.orchestrator.backends.base import Endpoint, RunFailed, RunPaused
from agentpane.orchestrator.backends.registry import Backends
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.keeping.turn_snapshots import Stint, TurnKeeper, TurnSnapshots
from agentpane.orchestrator.mcp.servers import Servers, Wanted
from agentpane.orchestrator.permissions import trust
from agentpane.orchestrator.permissions.gate import Gate
from agentpane.orchestrator.permissions.judging import Terms
from agentpane.orchestrator.runs import background, prompts
from agentpane.orchestrator.runs.awaited import Awaited
from agentpane.orchestrator.runs.briefing import Briefing, reach_of
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.cast import Cast
from agentpane.orchestrator.runs.completion import Completion
from agentpane.orchestrator.runs.narrator import Narrator
from agentpane.orchestrator.runs.subagents import Crew, Part
from agentpane.orchestrator.runs.telling import TellingSandbox
from agentpane.orchestrator.sessions import Recorder, read_whole
from agentpane.orchestrator.workspaces.workspace import Workspaces
from agentpane.sandbox import Sandbox
from agentpane.worktrees import Worktree

log = logging.getLogger(__name__)
CALLS_OUR_TOOLS = frozenset({BackendName.ANTHROPIC, BackendName.CLAUDE_CODE})
Wish = Callable[[], PauseReason | None]


class Runner:
    """Plays runs. It holds nothing of a run but the wish to pause it and the account that it draws on."""

    def __init__(
        self,
        core: Core,
        blobs: BlobStore,
        sandbox: Sandbox,
        backends: Backends,
        workspaces: Workspaces,
        credentials: Credentials,
        completion: Completion,
        budgets: Budgets,
        awaited: Awaited,
        servers: Servers,
        turns: TurnSnapshots,
    ) -> None:
        self._core = core
        self._blobs = blobs
        self._sandbox = sandbox
        self._backends = backends
        self._workspaces = workspaces
        self._briefing = Briefing(core, blobs, credentials, sandbox.tier)
        self._completion = completion
        self._budgets = budgets
        self._awaited = awaited
        self._servers = servers
        self._turns = turns
        self._wishes: dict[RunId, PauseReason | None] = {}  # for each run that is played: why it should pause
        self._endpoints: dict[RunId, Endpoint] = {}  # which account each run that is played draws on

    def ask_to_pause(self, run_id: RunId, reason: PauseReason = PauseReason.PERSON) -> bool:
        """Pause a run at its next safe moment. False if it is not being played."""
        if run_id in self._wishes:
            self._wishes[run_id] = reason
            self._awaited.interrupt(run_id)
        return run_id in self._wishes

    def ask_all_to_pause(self) -> None:
        for run_id in self._wishes:
            self.ask_to_pause(run_id)

    async def play(self, run_id: RunId) -> None:
        """Play a run that is `starting`. Its outcome is stored; only cancellation passes through."""
        self._wishes[run_id] = None
        row = await self._core.db.read(runs.row, run_id)
        recorder = Recorder(self._core, self._blobs, row.task_id, row.session_id, run_id)
        try:
            async with self._core.task_locks.of(f"run:{row.task_id}"):
                await self._play(row, recorder)
        except RunPaused as pause:
            await self._paused(row, recorder, pause)
        except RunFailed as failure:
            await self._failed(row, recorder, failure.error)
        except AgentPaneError as error:
            await self._failed(row, recorder, error)
        except asyncio.CancelledError:
            await recorder.close()
            raise
        except Exception as bug:
            log.exception("run %s failed", run_id)
            problem = AgentPaneError(
                ErrorCode.INTERNAL,
                f"AgentPane failed while it played this run: {type(bug).__name__}.",
                hint="The worktree is as the agent left it. Resume the run; if it fails again, report the log.",
            )
            await self._failed(row, recorder, problem)
        finally:
            self._wishes.pop(run_id, None)
            self._endpoints.pop(run_id, None)
            self._budgets.forget(run_id)

    async def _play(self, row: runs.RunRow, recorder: Recorder) -> None:
        cast = await self._cast(row)
        if cast.untrusted:
            code = ErrorCode.PROJECT_NOT_TRUSTED.value
            recorder.add(EventKind.STATE, {"state": "not_trusted", "code": code, "pending": list(cast.untrusted)})
        worktree = await self._workspaces.ready(cast.task, cast.project, cast.config, cast.repository, row.id, recorder)
        tier = self._sandbox.tier
        await self._core.db.write(
            runs.set_status, row.id, RunStatus.RUNNING, self._now(), sandbox_tier=tier.value, error=None
        )
        recorder.add(EventKind.STATE, {"state": "running", "sandbox_tier": tier.value})
        await self._core.announce_task(row.task_id)
        result = await self._work(cast, worktree, recorder)
        try:
            await self._complete(cast, worktree, result, recorder)
        except AgentPaneError as error:
            if error.code is not ErrorCode.MERGE_CONFLICT or cast.agent.backend is BackendName.COMMAND:
                raise
            # Most of what is left of a conflict was overlooked, and is put right when it is named; once.
            text = prompts.go_on(RunError(error.code.value, error.message, error.hint))
            recorder.add(EventKind.USER_MESSAGE, {"text": text, "from": "engine"})
            await self._complete(cast, worktree, await self._work(cast, worktree, recorder), recorder)
        await recorder.close()

    async def _work(self, cast: Cast, worktree: Worktree, recorder: Recorder) -> str:
        """Let the agent work until it is done, and nothing is left that it has not read. Returns its last words."""
        result, unread = "", True
        async with self._servers.of_run(await self._wanted(cast, worktree), partial(_note, recorder)) as extra:
            cast = replace(cast, extra=extra)
            while unread:  # what a person says during the last turn is read before the work counts as done
                result, unread = await self._converse(cast, worktree, recorder)
        await recorder.flush()
        return result

    async def _complete(self, cast: Cast, worktree: Worktree, result: str, recorder: Recorder) -> None:
        await self._completion.complete(cast.run, cast.task, cast.project, cast.repository, worktree, result, recorder)

    async def _converse(
        self, cast: Cast, worktree: Worktree, recorder: Recorder, wish: Wish | None = None
    ) -> tuple[str, bool]:
        """Let the agent work until it says that it is done. Returns its last words, and whether a message waits.

        wish: says why it should pause, if it should; what was asked of the run itself unless given.
        """
        events = await self._told(cast, recorder)
        conversation = transcript.rebuild(events)
        wish = wish or (lambda: self._wishes.get(cast.run.id))
        crew = Crew(
            self._core,
            cast.run,
            cast.agent,
            cast.policy,
            cast.config,
            cast.tool_names,
            conversation.next_turn,
            partial(self._play_part, cast, worktree),
            wish,
        )
        tier = self._sandbox.tier
        terms = Terms(cast.run, cast.project, cast.grants(tier), worktree.path, cast.run.plan)
        gate = Gate(
            self._core,
            recorder,
            terms,
            self._awaited,
            conversation.read_up_to,
            wish,
            self._budgets,
            self._blobs,
            crew,
        )
        narrator = Narrator(self._core, recorder, cast.run, tier, lambda: gate.read_up_to, self._budgets)
        shells = background.shells_for(recorder, events)
        telling = TellingSandbox(self._sandbox, partial(_note, recorder))
        brief = await self._briefing.of(cast, worktree, conversation, traces.files_seen(events), shells, telling)
        self._endpoints[cast.run.id] = brief.endpoint
        stint = Stint(cast.run, cast.repository, worktree, recorder)
        keeping = TurnKeeper(self._turns, stint, conversation.next_turn - 1 if cast.run.turns else 0)
        result = ""
        left: tuple[str, ...] = ()
        async with keeping as keeper:
            try:
                async with aclosing(self._backends.get(cast.agent.backend).play(brief, gate)) as playing:
                    async for event in playing:
                        await keeper.see(event)
                        result = await narrator.take(event) or result
                left = background.running(shells)
            except asyncio.CancelledError:
                await narrator.cut_off()
                raise
            finally:
                await shells.close()
                await narrator.settle()
        await recorder.flush()
        unread = await gate.unread()
        if left and not unread:  # else it is told at once, when it goes on
            recorder.add(EventKind.STATE, background.ended(left))
        return result, unread

    async def _play_part(self, cast: Cast, worktree: Worktree, part: Part) -> str:
        """Play a sub-agent in the worktree of its parent. Returns its last words."""
        run = part.run
        recorder = Recorder(self._core, self._blobs, run.task_id, run.session_id, run.id, part.within)
        recorder.add(EventKind.STATE, {"state": "sub_run", "description": part.description, "agent": part.agent.name})
        words = prompts.for_sub_agent(part.agent.config.system_prompt)
        agent = replace(part.agent, config=replace(part.agent.config, system_prompt=words))
        try:
            text, _ = await self._converse(cast.below(run, agent, part.tools), worktree, recorder, part.wish)
            return text
        finally:
            await recorder.close()
            self._endpoints.pop(run.id, None)
            self._budgets.forget(run.id)

    async def _cast(self, row: runs.RunRow) -> Cast:
        task = await self._core.task(row.task_id)
        project = await self._core.db.read(projects.get, row.project_id)
        agent = await self._core.db.read(agents.get, row.agent_id)
        repository = await self._core.git.open_repository(Path(project.path))
        base = task.base_sha or (await self._core.git.base_branch(repository, project.base_branch)).sha
        stand = await trust.standing(self._core, project.id, repository, base)
        if stand.pending or not project.trusted:
            await trust.look(self._core, project, repository)
        words = await trust.instructions(self._core, repository, base)
        config = merged(project.config, stand.config, stand.trusted)
        servers = stand.config.servers if stand.config is not None and stand.trusted else ()
        return Cast(row, task, project, agent, config, repository, words, stand.pending, servers=servers)

    async def _wanted(self, cast: Cast, worktree: Worktree) -> Wanted:
        """The tool servers of the run; none for an agent that does not call our tools."""
        ours = cast.agent.backend in CALLS_OUR_TOOLS
        chosen = await self._core.db.read(settings.get)
        return Wanted(
            own=chosen.mcp_servers if ours else (),
            of_repository=cast.servers if ours else (),
            worktree=worktree.path,
            readable=(cast.repository.common_dir,),
            network=await reach_of(self._core, cast),
            agent_tools=cast.agent.config.allowed_tools or None,
            project_tools=cast.config.allowed_tools,
        )

    async def _told(self, cast: Cast, recorder: Recorder) -> list[SessionEvent]:
        """The events of the agent's conversation, with what it has to be told before it goes on."""
        events = await self._events(cast, recorder)
        news = background.notice(events)
        if news is not None:
            recorder.add(EventKind.STATE, news)
        conversation = transcript.rebuild(event for event in events if not transcript.is_notice(event))
        last = conversation.history[-1] if conversation.history else None
        if last is None:
            text = prompts.task_prompt(cast.task.card.title, cast.task.description)
            first = {"text": cast.run.prompt, "from": "agent"} if cast.run.depth else {"text": text, "from": "task"}
            recorder.add(EventKind.USER_MESSAGE, first)
        elif last["role"] == "assistant" and not conversation.results and not conversation.pending:
            text = prompts.go_on(None if cast.run.depth else cast.task.runs[-1].error)
            recorder.add(EventKind.USER_MESSAGE, {"text": text, "from": "engine"})
        elif news is None:
            return events
        return await self._events(cast, recorder)

    async def _events(self, cast: Cast, recorder: Recorder) -> list[SessionEvent]:
        """A sub-agent knows of its own run only, and the card's agent of none of theirs."""
        await recorder.flush()
        below = await self._core.db.read(sub_runs.ids_of_task, cast.run.task_id)
        run_id = cast.run.id
        return [
            event
            async for event in read_whole(self._core, self._blobs, cast.run.session_id)
            if (event.run_id == run_id if cast.run.depth else event.run_id not in below)
        ]

    async def _paused(self, row: runs.RunRow, recorder: Recorder, pause: RunPaused) -> None:
        error = pause.error
        waiting = await self._core.db.read(runs.row, row.id)  # one that waits, alive, has its reason already
        reason = waiting.pause_reason if waiting.status is RunStatus.PAUSED else None
        data: dict[str, object] = {"state": "paused", "reason": (reason or pause.reason).value}
        if error is not None:
            data |= {"code": error.code.value, "message": error.message, "hint": error.hint}
        recorder.add(EventKind.STATE, data)  # type: ignore[arg-type]
        await recorder.close()
        async with self._core.task_locks.of(row.task_id):
            await self._core.db.write(self._store_pause, row, pause)
        await self._core.announce_task(row.task_id)
        await self._core.announce_agent(row.agent_id)

    def _store_pause(self, connection: runs.Connection, row: runs.RunRow, pause: RunPaused) -> None:
        """A person may have been quicker than a pause for a decision: then it is there, and the run goes on."""
        now, error = self._now(), pause.error
        stored = RunError(error.code.value, error.message, error.hint) if error else None
        if runs.row(connection, row.id).status in ACTIVE:  # else it has paused, alive, before
            runs.set_status(connection, row.id, RunStatus.PAUSED, now, pause_reason=pause.reason, error=stored)
        paused = runs.row(connection, row.id)
        asked = paused.status is RunStatus.PAUSED and paused.pause_reason in {PauseReason.APPROVAL, PauseReason.PLAN}
        if asked and not approvals.pending(connection, row.task_id):
            runs.set_status(connection, row.id, RunStatus.QUEUED, now, pause_reason=None)

    async def _failed(self, row: runs.RunRow, recorder: Recorder, error: AgentPaneError) -> None:
        if error.code is ErrorCode.BACKEND_AUTH:
            return await self._paused(row, recorder, RunPaused(PauseReason.KEY, error))
        if error.details.get("spend_limit") is True:
            self._pause_account(self._endpoints.get(row.id))
            return await self._paused(row, recorder, RunPaused(PauseReason.SPEND_LIMIT, error))
        data: JsonObject = {"code": error.code.value, "message": error.message, "hint": error.hint}
        recorder.add(EventKind.ERROR, data)
        await recorder.close()
        stored = RunError(error.code.value, error.message, error.hint)
        await self._core.db.write(runs.set_status, row.id, RunStatus.ERROR, self._now(), error=stored)
        await self._core.announce_task(row.task_id)
        await self._core.announce_agent(row.agent_id)
        return None

    def _pause_account(self, account: Endpoint | None) -> None:
        """Every run of an account whose money is spent pauses before its next request."""
        for run_id, endpoint in self._endpoints.items():
            if endpoint == account:
                self.ask_to_pause(run_id, PauseReason.SPEND_LIMIT)

    def _now(self) -> datetime:
        return self._core.clock.now()


def _note(recorder: Recorder, data: JsonObject) -> None:
    """Say in the session how a tool server fares, or what the sandbox has refused."""
    recorder.add(EventKind.STATE, data)
