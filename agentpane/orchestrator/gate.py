"""What stands between a run and its effects: limits before each request, the policy before each tool call."""

from __future__ import annotations

from collections.abc import Callable

from agentpane.api.events import ApprovalChanged
from agentpane.db import approvals, runs, sessions
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.policy import Judgement, Policy, Use, Verdict, judge
from agentpane.domain.projects import Project
from agentpane.domain.runs import PauseReason, turn_limit_is_near
from agentpane.domain.sandbox import Tier
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends.base import RunPaused, ToolCall
from agentpane.orchestrator.budgets import Budgets
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.sessions import Recorder


class Gate:
    """The host of one run. It implements `backends.base.Host`."""

    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        run: runs.RunRow,
        project: Project,
        tools: tuple[str, ...],
        policy: Policy,
        tier: Tier,
        read_up_to: int,
        wish: Callable[[], PauseReason | None],
        budgets: Budgets,
    ) -> None:
        self._core = core
        self._recorder = recorder
        self._run = run
        self._project = project
        self._tools = tools
        self._policy = policy
        self._tier = tier
        self.read_up_to = read_up_to  # a person's messages up to this event are in the conversation
        self._warned = False  # of the turn limit
        self._wish = wish  # why the run should pause, if it should
        self._budgets = budgets

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
        return tuple(str(event.data["text"]) for event in events if event.kind is EventKind.ANSWER)

    async def unread(self) -> bool:
        """Whether the person has said something that the agent has not read."""
        last = await self._core.db.read(sessions.last_seq, self._run.session_id)
        if last <= self.read_up_to:
            return False
        events = await self._core.db.read(sessions.read, self._run.session_id, self.read_up_to, last)
        return any(event.kind is EventKind.ANSWER for event in events)

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        """Allow or deny; raises RunPaused when a person must say, after storing the question."""
        self._stop_if_asked()
        always = await self._core.db.read(approvals.always, self._project.id)
        verdict = judge(call.name, self._policy, self._tier, self._tools, always)
        if verdict.judgement is not Judgement.ASK:
            return verdict
        decided = await self._core.db.read(approvals.for_call, self._run.id, call.id)
        if decided is None:
            await self._ask(turn, call, summary)
        elif decided.state is ApprovalState.ALLOWED:
            return Verdict(Judgement.ALLOW, f"approved by {decided.decided_by}")
        elif decided.state is ApprovalState.DENIED:
            return Verdict(Judgement.DENY, decided.message or "The person denied this call.")
        raise RunPaused(PauseReason.APPROVAL)

    async def decide(self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "") -> Verdict:
        """See `Host.decide`."""
        return await self.authorize(turn, call, summary)

    async def ask(self, turn: int, call: ToolCall, question: str, options: tuple[str, ...]) -> str:
        """See `Host.ask`."""
        await self._recorder.flush()
        last = await self._core.db.read(sessions.last_seq, self._run.session_id)
        events = await self._core.db.read(sessions.read, self._run.session_id, 0, last)
        asked = False
        for event in events:
            asked = asked or (event.kind is EventKind.QUESTION and event.data.get("call_id") == call.id)
            if asked and event.kind is EventKind.ANSWER:
                return str(event.data["text"])
        if not asked:
            data: JsonObject = {"call_id": call.id, "question": question, "options": list(options)}
            self._recorder.add(EventKind.QUESTION, data, turn)
            await self._recorder.flush()
        raise RunPaused(PauseReason.QUESTION)

    async def _ask(self, turn: int, call: ToolCall, summary: str) -> None:
        asked: Approval = await self._core.db.write(
            approvals.request,
            approvals.NewApproval(
                project_id=self._project.id,
                task_id=self._run.task_id,
                run_id=self._run.id,
                call_id=call.id,
                tool=call.name,
                input=call.input,
                summary=summary,
            ),
            self._core.clock.now(),
        )
        data: dict[str, JsonValue] = {
            "approval_id": asked.id,
            "call_id": call.id,
            "tool": call.name,
            "input": call.input,
            "summary": summary,
        }
        self._recorder.add(EventKind.APPROVAL_REQUESTED, data, turn)
        await self._recorder.flush()
        self._core.bus.publish(ApprovalChanged(asked))

    def _stop_if_asked(self) -> None:
        reason = self._wish()
        if reason is not None:
            raise RunPaused(reason)
