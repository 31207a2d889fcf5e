"""The policy before each tool call of one run: judged, asked about, and answered by what a person decides."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agentpane.api.events import ApprovalChanged
from agentpane.db import approvals, audit, runs, sessions
from agentpane.domain import policy as p
from agentpane.domain.approvals import Approval, ApprovalState
from agentpane.domain.json import JsonObject, JsonValue
from agentpane.domain.offers import offered
from agentpane.domain.policy import Effect, Grants, Judgement, Use, Verdict
from agentpane.domain.projects import Project
from agentpane.domain.rules import readable
from agentpane.domain.runs import PAUSED_PLACE_SECONDS, PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.domain.shell import Script
from agentpane.orchestrator.backends.base import RunPaused, ToolCall
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.permissions import shell_parts
from agentpane.orchestrator.permissions.previews import preview
from agentpane.orchestrator.runs.awaited import Awaited
from agentpane.orchestrator.sessions import Recorder

ALREADY_APPROVED = "the plan is approved already"
DECISION_USED = "decision_used"  # a state in the session: an equal call was answered by a stored decision
_DECIDED = frozenset({ApprovalState.ALLOWED, ApprovalState.DENIED})
_PATHS = ("file_path", "notebook_path", "path")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run's calls are judged by.

    grants: its own and those of the agents above it, of which the strictest holds; without what is always allowed,
    which is read for each call.
    plan: the run begins with a plan.
    """

    run: runs.RunRow
    project: Project
    grants: tuple[Grants, ...]
    worktree: Path
    plan: bool = False


@dataclass(frozen=True, slots=True)
class _Asked:
    """A call about which nothing but a person can decide. rule: which rule asks."""

    turn: int
    call: ToolCall
    summary: str
    detail: str
    rules: tuple[str, ...]
    rule: str


class Judge:
    """wish: why the run should pause, if it should. patience: seconds that an agent waits alive for a decision."""

    def __init__(
        self,
        core: Core,
        recorder: Recorder,
        terms: Terms,
        awaited: Awaited,
        wish: Callable[[], PauseReason | None],
        patience: float | None = None,
    ) -> None:
        self._core = core
        self._recorder = recorder
        self._terms = terms
        self._awaited = awaited
        self._wish = wish
        self._patience = PAUSED_PLACE_SECONDS if patience is None else patience
        self._plan_approved = False

    async def planning(self) -> bool:
        """Whether the run has still to have its plan approved."""
        if not self._terms.plan or self._plan_approved:
            return False
        self._plan_approved = await self._core.db.read(approvals.plan_approved, self._terms.run.id)
        return not self._plan_approved

    async def authorize(self, turn: int, call: ToolCall, summary: str) -> Verdict:
        """See `Host.authorize`."""
        self._stop_if_asked()
        use = self._use_of(call)
        verdict, script = await self._judged(use)
        known = await self._core.db.read(approvals.for_call, self._terms.run.id, call.id)
        detail = ""
        if known is not None or verdict.judgement is Judgement.ASK:
            detail = await asyncio.to_thread(preview, self._terms.worktree, call.name, call.input)
        same = known is not None and known.is_about(call.name, call.input, detail)
        if known is not None and same and known.state in _DECIDED and _stands(verdict, call):
            return _answer(known)
        if verdict.judgement is not Judgement.ASK:
            return verdict
        if known is None or not same or known.state is ApprovalState.WITHDRAWN:
            await self._ask(_Asked(turn, call, summary, detail, self._offers(use, script), verdict.rule), alive=False)
        raise RunPaused(PauseReason.PLAN if call.name == p.EXIT_PLAN else PauseReason.APPROVAL)

    def _offers(self, use: Use, script: Script | None) -> tuple[str, ...]:
        return offered(use, script, self._terms.grants[0].tier)

    async def decide(
        self, turn: int, call: ToolCall, use: Use, summary: str, detail: str = "", others: tuple[Use, ...] = ()
    ) -> Verdict:
        """See `Host.decide`."""
        self._stop_if_asked()
        if use.tool == p.EXIT_PLAN:  # whatever the agent calls it: its approval ends the planning
            call = replace(call, name=p.EXIT_PLAN)
        uses = [replace(one, path=self._relative(one.path)) for one in (use, *others)]
        judged = [(one, *await self._judged(one, foreign=True)) for one in uses]
        verdict = p.worst([one for _, one, _ in judged])
        if verdict.judgement is not Judgement.ASK and call.name != p.EXIT_PLAN:
            return verdict
        shown = detail or use.command or ""
        if not shown:
            shown = await asyncio.to_thread(preview, self._terms.worktree, call.name, call.input)
        known = await self._decision_for(call, shown)
        if known is not None and known.state in _DECIDED:
            await self._use_up(turn, known)
            return _answer(known)
        if verdict.judgement is not Judgement.ASK:
            return verdict
        waits_for = known.call_id if known is not None else call.id
        offers = [self._offers(one, script) for one, its, script in judged if its.judgement is Judgement.ASK]
        rules = tuple(dict.fromkeys(rule for offer in offers for rule in offer)) if all(offers) else ()
        asked = _Asked(turn, call, summary, shown, rules, verdict.rule)
        with self._awaited.wait(self._terms.run.id, waits_for) as decision:
            if known is None:
                await self._ask(asked, alive=True)
            else:
                await self._core.db.write(self._pause, known)
                await self._core.announce_task(self._terms.run.task_id)
            decided: Approval | None = None
            try:
                async with asyncio.timeout(self._patience):
                    decided = await decision
            except TimeoutError:
                pass
        if decided is None:
            raise RunPaused(self._wish() or PauseReason.APPROVAL)
        await self._use_up(turn, decided)
        return _answer(decided)

    async def _judged(self, use: Use, foreign: bool = False) -> tuple[Verdict, Script | None]:
        grants = await self._grants(foreign)
        script = None
        if use.effect is Effect.EXECUTE and use.command is not None:
            script = await asyncio.to_thread(shell_parts.read, use.command)
        verdicts = [p.judge(use, one, script) for one in grants]
        real = await asyncio.to_thread(self._real, use.path) if use.path else None
        if real is not None and real != use.path:  # a link is judged by where it leads, too
            verdicts += [p.judge(replace(use, path=real), one) for one in grants]
        verdict = p.worst(verdicts)
        planning = await self.planning()
        if use.tool == p.EXIT_PLAN:
            return _of_plan(planning, self._terms.plan), script
        return (p.while_planning(use, verdict) if planning else verdict), script

    async def _grants(self, foreign: bool) -> tuple[Grants, ...]:
        always = readable(await self._core.db.read(approvals.always, self._terms.project.id))
        return tuple(replace(one, always=always, foreign=foreign) for one in self._terms.grants)

    def _use_of(self, call: ToolCall) -> Use:
        """What a call of the in-process tools would do."""
        effect = p.effect_of(call.name)
        if effect is Effect.EXECUTE:
            return Use(call.name, effect, command=str(call.input.get("command", "")))
        if effect is Effect.OTHER:
            return Use(call.name, effect)
        named = next((call.input[key] for key in _PATHS if isinstance(call.input.get(key), str)), None)
        return Use(call.name, effect, path=self._relative(str(named)) if named else None)

    def _relative(self, path: str | None) -> str | None:
        """Relative to the worktree where it lies inside, absolute otherwise; links are not looked at."""
        if path is None:
            return None
        root = os.path.normpath(self._terms.worktree)
        whole = os.path.normpath(os.path.join(root, path))
        if whole == root:
            return "."
        return whole[len(root) + 1 :] if whole.startswith(root + "/") else whole

    def _real(self, path: str) -> str | None:
        """Where the path leads when links are followed, in the words of `_relative`."""
        root = os.path.realpath(self._terms.worktree)
        try:
            whole = os.path.realpath(os.path.join(root, path))
        except (OSError, ValueError):
            return None
        if whole == root:
            return "."
        return whole[len(root) + 1 :] if whole.startswith(root + "/") else whole

    async def _ask(self, asked: _Asked, alive: bool) -> Approval:
        """Store the question and show it. alive: the agent waits for the answer, so its run pauses at once."""
        before = await self._core.db.read(approvals.for_call, self._terms.run.id, asked.call.id)
        approval: Approval = await self._core.db.write(self._store, asked, alive)
        data: dict[str, JsonValue] = {
            "approval_id": approval.id,
            "call_id": approval.call_id,
            "tool": approval.tool,
            "input": approval.input,
            "summary": approval.summary,
            "rule": asked.rule,
            "rules": list(approval.rules),
        }
        self._recorder.add(EventKind.APPROVAL_REQUESTED, data, asked.turn)
        await self._recorder.flush()
        if before is not None and before.state is ApprovalState.PENDING and before.id != approval.id:
            self._core.bus.publish(ApprovalChanged(await self._core.db.read(approvals.get, before.id)))
        self._core.bus.publish(ApprovalChanged(approval))
        if alive:
            await self._core.announce_task(self._terms.run.task_id)
        return approval

    def _store(self, connection: approvals.Connection, asked: _Asked, alive: bool) -> Approval:
        run, call = self._terms.run, asked.call
        new = approvals.NewApproval(
            project_id=self._terms.project.id,
            task_id=run.task_id,
            run_id=run.id,
            call_id=call.id,
            tool=call.name,
            input=call.input,
            summary=asked.summary,
            rules=asked.rules,
            detail=asked.detail,
        )
        approval = approvals.request(connection, new, self._core.clock.now())
        entry = self._core.record(
            "approval.request",
            self._terms.project.id,
            actor=f"rule: {asked.rule}",
            task_id=run.task_id,
            agent_id=run.agent_id,
            run_id=run.id,
            input={"tool": call.name, "summary": asked.summary},
            output={"rule": asked.rule, "sandbox_tier": self._terms.grants[0].tier.value},
            turn=asked.turn,
        )
        audit.append(connection, (entry,))
        if alive:
            self._pause(connection, approval)
        return approval

    def _pause(self, connection: approvals.Connection, approval: Approval) -> None:
        """The run waits for a person, alive; it works again when the decision is stored."""
        run = runs.row(connection, self._terms.run.id)
        if run.status is RunStatus.RUNNING and approvals.get(connection, approval.id).state is ApprovalState.PENDING:
            now = self._core.clock.now()
            reason = PauseReason.PLAN if approval.tool == p.EXIT_PLAN else PauseReason.APPROVAL
            runs.set_status(connection, run.id, RunStatus.PAUSED, now, pause_reason=reason)

    async def _decision_for(self, call: ToolCall, shown: str) -> Approval | None:
        """What was asked, and perhaps decided, about this very call or an equal one that was never carried out.

        shown: what a person sees of the call; what was decided about anything else to be seen does not answer it.
        """
        found = await self._core.db.read(approvals.like, self._terms.run.id, call.name, call.input, shown)
        if not found:
            return None
        await self._recorder.flush()
        used: set[object] = set()
        after = 0
        last = await self._core.db.read(sessions.last_seq, self._terms.run.session_id)
        while after < last:
            events = await self._core.db.read(sessions.read, self._terms.run.session_id, after, 1_000)
            after = events[-1].seq if events else last
            used |= {event.data.get("approval_id") for event in events if event.data.get("state") == DECISION_USED}
        return next((approval for approval in found if approval.id not in used), None)

    async def _use_up(self, turn: int, approval: Approval) -> None:
        """A decision answers one call."""
        self._recorder.add(EventKind.STATE, {"state": DECISION_USED, "approval_id": approval.id}, turn)
        await self._recorder.flush()

    def _stop_if_asked(self) -> None:
        reason = self._wish()
        if reason is not None:
            raise RunPaused(reason)


def _stands(verdict: Verdict, call: ToolCall) -> bool:
    """Whether a person's decision about a call holds: against anything but a rule that denies."""
    return verdict.judgement is not Judgement.DENY or call.name == p.EXIT_PLAN


def _of_plan(planning: bool, plan: bool) -> Verdict:
    if planning:
        return Verdict(Judgement.ASK, "a plan is approved by a person")
    return Verdict(Judgement.DENY, ALREADY_APPROVED if plan else "there is no plan to approve in this run")


def _answer(decided: Approval) -> Verdict:
    if decided.state is ApprovalState.ALLOWED:
        edited: JsonObject | None = decided.edited
        return Verdict(Judgement.ALLOW, f"approved by {decided.decided_by}", edited)
    return Verdict(Judgement.DENY, p.denied_by_person(decided.message))
