"""What stands between a run and its effects: limits before each request, the policy before each tool call."""

from __future__ import annotations

from collections.abc import Callable

from agentpane.db import runs, sessions
from agentpane.domain import traces, transcript
from agentpane.domain.json import JsonObject
from agentpane.domain.policy import Use, Verdict
from agentpane.domain.runs import PauseReason, turn_limit_is_near
from agentpane.domain.sessions import EventKind, SessionEvent
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import RunPaused, ToolCall
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.permissions.judging import Judge, Terms
from agentpane.orchestrator.runs.awaited import Awaited
from agentpane.orchestrator.runs.budgets import Budgets
from agentpane.orchestrator.runs.subagents import Crew
from agentpane.orchestrator.sessions import Recorder, read_whole
from agentpane.orchestrator.tools import ToolResult


class Gate:
    """The host of one run. It implements `backends.base.Host`."""

    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        terms: Terms,
        awaited: Awaited,
        read_up_to: int,
        wish: Callable[[], PauseReason | None],
        budgets: Budgets,
        blobs: BlobStore,
        crew: Crew,
    ) -> None:
        self._core = core
        self._recorder = recorder
        self._run = terms.run
        self._judge = Judge(core, recorder, terms, awaited, wish)
        self.read_up_to = read_up_to  # a person's messages up to this event are in the conversation
        self._warned = False  # of the turn limit
        self._wish = wish  # why the run should pause, if it should
        self._budgets = budgets
        self._blobs = blobs
        self._crew = crew

    async def may_start_turn(self, turn: int) -> tuple[str, ...]:
        """The messages that came since the last turn. Raises RunPaused at the turn limit or on the person's wish."""
        self._stop_if_asked()
        row = await self._core.db.read(runs.row, self._run.id)
        if row.turns >= row.turn_limit:
            error = AgentPaneError(
                ErrorCode.AGENT_TURN_LIMIT,
                f"The run has used its {row.turn_limit} turns.",
                hint="Continue with more turns, finish here with what is done, or stop.",
            )
            raise RunPaused(PauseReason.TURN_LIMIT, error)
        if turn_limit_is_near(row.turns, row.turn_limit) and not self._warned:
            self._warned = True
            self._recorder.add(
                EventKind.STATE, {"state": "turn_limit_near", "turns": row.turns, "limit": row.turn_limit}, turn
            )
        await self._recorder.flush()
        await self._budgets.before_request(self._run.id)
        last = await self._core.db.read(sessions.last_seq, self._run.session_id)
        since, self.read_up_to = self.read_up_to, last
        if last <= since:
            return ()
        events = await self._core.db.read(sessions.read, self._run.session_id, since, last - since)
        return tuple(str(event.data["text"]) for event in events if self._is_said(event))

    async def unread(self) -> bool:
        """Whether the person has said something that the agent has not read."""
        last = await self._core.db.read(sessions.last_seq, self._run.session_id)
        if last <= self.read_up_to:
            return False
        events = await self._core.db.read(sessions.read, self._run.session_id, self.read_up_to, last)
        return any(self._is_said(event) for event in events)

    def _is_said(self, event: SessionEvent) -> bool:
        """Is it a message to this agent? A person speaks to the card's agent, and answers the calls that ask."""
        if transcript.is_notice(event):
            return event.run_id == self._run.id
        return event.kind is EventKind.ANSWER and "call_id" not in event.data and self._run.depth == 0

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        """See `Host.authorize`."""
        return await self._judge.authorize(turn, call, summary)

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        """See `Host.decide`."""
        return await self._judge.decide(turn, call, use, summary, detail, others)

    async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
        """See `Host.ask`."""
        await self._recorder.flush()
        events = [event async for event in read_whole(self._core, self._blobs, self._run.session_id)]
        asked = traces.question_of(events, self._run.id, turn, call.id)
        answer = traces.answer_to(events, asked) if asked is not None else None
        if answer is not None:
            return answer
        if asked is None:
            data: JsonObject = {"call_id": call.id, "question": question, "options": list(options)}
            self._recorder.add(EventKind.QUESTION, data, turn)
            await self._recorder.flush()
        raise RunPaused(PauseReason.QUESTION)

    async def delegate(self, turn: int, call: ToolCall, description: str, prompt: str, agent: str | None) -> ToolResult:
        """See `Host.delegate`."""
        return await self._crew.delegate(turn, call.id, description, prompt, agent)

    def _stop_if_asked(self) -> None:
        reason = self._wish()
        if reason is not None:
            raise RunPaused(reason)
