"""The program's requests, answered: each goes through the policy, and then through our files and our sandbox.

They are taken one after the other, in the order in which they came among the updates.
"""

from __future__ import annotations

import asyncio
import codecs
import shlex
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from agentpane.domain.policy import EXIT_PLAN, Effect, Judgement, Use, Verdict
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.acp import filing
from agentpane.orchestrator.backends.acp.calls import AgentCall, placed, within
from agentpane.orchestrator.backends.acp.inbox import Inbox, Request
from agentpane.orchestrator.backends.acp.library import PERMISSION, QUESTION, READ, TERMINAL, WRITE, Library
from agentpane.orchestrator.backends.acp.memory import PLAN_APPROVED, Memory
from agentpane.orchestrator.backends.acp.questions import answer_form, questions_of
from agentpane.orchestrator.backends.acp.scribe import Scribe
from agentpane.orchestrator.backends.acp.terminals import Terminal, Terminals, check_names
from agentpane.orchestrator.backends.base import BackendEvent, Brief, Host
from agentpane.orchestrator.tools import ToolResult
from agentpane.orchestrator.tools.base import Refusal
from agentpane.orchestrator.tree import files

APPROVED = ToolResult(PLAN_APPROVED, False, "approved")
CANCELLED = {"outcome": {"outcome": "cancelled"}}
ALLOWING = ("allow_once", "allow_always")  # ours is the memory of "always"
REFUSING = ("reject_once", "reject_always")


class Answers:
    """For one run. denials: what was refused and why, for the program has no place for a reason in an answer."""

    def __init__(
        self,
        brief: Brief,
        host: Host,
        library: Library,
        scribe: Scribe,
        terminals: Terminals,
        inbox: Inbox,
        memory: Memory,
    ) -> None:
        self.denials: list[str] = []
        self._plan = brief.plan
        self._context = brief.context
        self._worktree = brief.context.worktree
        self._host = host
        self._library = library
        self._scribe = scribe
        self._terminals = terminals
        self._inbox = inbox
        self._memory = memory
        self._granted: list[tuple[Use, AgentCall]] = []  # asked for in so many words: the effect need not ask again
        self._made = 0
        self._answering = {
            PERMISSION: self._permission,
            READ: self._read,
            WRITE: self._write,
            TERMINAL: self._terminal,
            QUESTION: self._question,
        }
        self._watching: set[asyncio.Task[None]] = set()

    async def to(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        """Answer a request, and tell what comes of it. What is yielded is stored before the effect."""
        try:
            async for event in self._answering[request.method](request):
                yield event
        except self._library.error as error:
            if not request.answer.done():
                request.answer.set_exception(error)

    async def close(self) -> None:
        for job in self._watching:
            job.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _permission(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        events, call = await self._scribe.announce(request.params.tool_call)
        for event in [*events, *self._scribe.settle()]:
            yield event
        uses = call.uses(self._worktree)
        verdict = await self._decide(call, uses)
        if verdict.judgement is Judgement.DENY:
            for event in self._denied(call, verdict):
                yield event
            _give(request, self._outcome(request.params.options, REFUSING))
            return
        for event in self._scribe.start(call, verdict.rule):
            yield event
        if call.name == EXIT_PLAN and self._plan and self._memory.plan is None:  # another process carries it out
            self._memory.approve_plan(call.detail(self._worktree), verdict.edited)
            for event in self._scribe.finish(call, APPROVED):
                yield event
            _give(request, CANCELLED)
            return
        self._granted += [(_bare(use), call) for use in uses]
        _give(request, self._outcome(request.params.options, ALLOWING))

    async def _read(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        params = request.params
        use = Use("Read", Effect.READ, within(self._worktree, params.path))
        events, call, own = await self._attributed(("read", "edit", "search", "other"), use, "read", params.path)
        for event in events:
            yield event
        verdict = self._granted_before(use) or await self._decide(call, (use,))
        for event in self._judged(request, call, verdict):
            yield event
        if verdict.judgement is Judgement.DENY:
            return
        try:
            text = await asyncio.to_thread(filing.read_text, self._worktree, params.path, params.line, params.limit)
        except Refusal as refusal:
            for event in self._refused(request, call, refusal.message, own):
                yield event
        except FileNotFoundError:
            request.answer.set_exception(self._library.error.resource_not_found(params.path))
            for event in (
                self._scribe.finish(call, ToolResult("There is no such file.", True, "not found")) if own else []
            ):
                yield event
        else:
            _give(request, {"content": text})
            done = ToolResult(f"read {len(text):,} characters", False, "read", {"path": use.path})
            for event in self._scribe.finish(call, done) if own else []:
                yield event

    async def _write(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        params = request.params
        use = Use("Edit", Effect.WRITE, within(self._worktree, params.path))
        events, call, own = await self._attributed(("edit", "delete", "move", "other"), use, "edit", params.path)
        for event in events:
            yield event
        present = await asyncio.to_thread(self._present, params.path)
        as_shown = (self._worktree, use.path or "", present, params.content)
        granted = self._granted_before(use, lambda earlier: earlier.makes(*as_shown))
        if not call.diffs or not call.makes(*as_shown):  # what a person is shown is what will be written
            call.diffs = ((params.path, present, params.content),)
        verdict = granted or await self._decide(call, (use,))
        for event in self._judged(request, call, verdict):
            yield event
        if verdict.judgement is Judgement.DENY:
            return
        try:
            await asyncio.to_thread(filing.write_text, self._worktree, params.path, params.content)
        except Refusal as refusal:
            for event in self._refused(request, call, refusal.message, own):
                yield event
        else:
            _give(request, {})
            for event in self._scribe.finish(call, ToolResult("written", False, "written")) if own else []:
                yield event

    async def _terminal(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        params = request.params
        script = shlex.join([params.command, *params.args]) if params.args else params.command
        folder = within(self._worktree, params.cwd) if params.cwd else "."
        environment = {variable.name: variable.value for variable in params.env or ()}
        whole = placed(script, folder, environment)
        use = Use("Bash", Effect.EXECUTE, command=whole)
        events, call, own = await self._attributed(("execute",), use, "execute", whole)
        for event in events:
            yield event
        try:
            cwd = "/".join(files.components(self._worktree, params.cwd)) if params.cwd else None
            check_names(environment)
        except Refusal as refusal:
            for event in self._refused(request, call, refusal.message, own):
                yield event
            return
        verdict = self._granted_before(use) or await self._decide(call, (use,))
        for event in self._judged(request, call, verdict):
            yield event
        if verdict.judgement is Judgement.DENY:
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")

        def show(chunk: bytes) -> None:
            for event in self._scribe.output(call, decoder.decode(chunk)):
                self._inbox.put(event)

        name, terminal = self._terminals.create(script, environment, cwd, params.output_byte_limit, show)
        if own:
            job = asyncio.create_task(self._tell_end(call, terminal), name="acp-terminal-end")
            self._watching.add(job)
        _give(request, {"terminalId": name})

    async def _tell_end(self, call: AgentCall, terminal: Terminal) -> None:
        await asyncio.wait([terminal.job])
        status = terminal.status() or {}
        code = status.get("exitCode")
        summary = f"exit code {code}" if code is not None else "ended"
        data = {"exit_code": code, "sandbox_tier": self._context.sandbox.tier.value}
        for event in self._scribe.finish(
            call, ToolResult(terminal.text()[-30_000:] or summary, code != 0, summary, data)
        ):
            self._inbox.put(event)

    async def _question(self, request: Request) -> AsyncGenerator[BackendEvent, None]:
        params = request.params
        asked = questions_of(params)
        if not asked:
            _give(request, {"action": "decline"})
            return
        content: dict[str, Any] = {}
        for question in asked:
            given = {"question": question.text, "options": list(question.options)}
            events, call = await self._own("ask", question.text, given)
            for event in [*events, *self._scribe.settle(), *self._scribe.start(call, "a question")]:
                yield event
            answer = await self._host.ask(call.turn, call.as_call(), question.text, question.options)
            content |= answer_form(question, answer)
            result = ToolResult(f"The person answers: {answer}", False, " ".join(answer.split())[:200])
            for event in self._scribe.finish(call, result):
                yield event
        _give(request, {"action": "accept", "content": content})

    async def _attributed(
        self, kinds: Sequence[str], use: Use, kind: str, title: str
    ) -> tuple[list[BackendEvent], AgentCall, bool]:
        """The call that the program has announced for this, or one of our own (the last value says so)."""
        known = self._scribe.unfinished(kinds)
        if known is not None and _concerns(known, use, self._worktree):
            return list(self._scribe.settle()), known, False
        paths = (title,) if kind in ("read", "edit") else ()
        given = {"command": title} if kind == "execute" else {"file_path": title}
        events, call = await self._own(kind, title, given, paths)
        return [*events, *self._scribe.settle()], call, True

    async def _own(
        self, kind: str, title: str, given: dict[str, Any], paths: tuple[str, ...] = ()
    ) -> tuple[list[BackendEvent], AgentCall]:
        self._made += 1
        call = AgentCall(0, f"request-{self._made}", kind, title, given, paths=paths)
        return await self._scribe.own_call(call), call

    async def _decide(self, call: AgentCall, uses: Sequence[Use]) -> Verdict:
        """Allowed only if each of the uses is."""
        use, *others = uses
        summary, detail = call.summary(self._worktree), call.detail(self._worktree, use.command)
        return await self._host.decide(call.turn, call.to_ask(use.command), use, summary, detail, tuple(others))

    def _granted_before(self, use: Use, fits: Callable[[AgentCall], bool] = lambda call: True) -> Verdict | None:
        """The verdict on a call under way that has asked for this very use; it counts for one effect."""
        bare = _bare(use)
        for entry in self._granted:
            granted, call = entry
            if granted == bare and not call.finished and fits(call):
                self._granted.remove(entry)
                return Verdict(Judgement.ALLOW, "as the agent asked before")
        return None

    def _judged(self, request: Request, call: AgentCall, verdict: Verdict) -> list[BackendEvent]:
        if verdict.judgement is not Judgement.DENY:
            return list(self._scribe.start(call, verdict.rule))
        words = f"The call was not carried out: {verdict.rule}"
        request.answer.set_exception(self._library.error.invalid_params({"details": words}))
        return list(self._scribe.finish(call, ToolResult(words, True, "denied"), verdict.rule))

    def _denied(self, call: AgentCall, verdict: Verdict) -> list[BackendEvent]:
        words = f"The call was not carried out: {verdict.rule}"
        self.denials.append(f"{call.name} {call.summary(self._worktree)}: {verdict.rule}")
        return list(self._scribe.finish(call, ToolResult(words, True, "denied"), verdict.rule))

    def _refused(self, request: Request, call: AgentCall, words: str, own: bool) -> list[BackendEvent]:
        request.answer.set_exception(self._library.error.invalid_params({"details": words}))
        denied = words if call.started_at is None else None  # nothing of it has happened
        return list(self._scribe.finish(call, ToolResult(words, True, words[:200]), denied)) if own else []

    def _present(self, path: str) -> str:
        try:
            return filing.read_text(self._worktree, path, None, None)
        except (Refusal, FileNotFoundError, AgentPaneError):
            return ""

    def _outcome(self, options: Sequence[Any], kinds: Sequence[str]) -> dict[str, Any]:
        for kind in kinds:
            for option in options:
                if option.kind == kind:
                    return {"outcome": {"outcome": "selected", "optionId": option.option_id}}
        return CANCELLED


def _give(request: Request, answer: dict[str, Any]) -> None:
    if not request.answer.done():
        request.answer.set_result(answer)


def _bare(use: Use) -> Use:
    """The use by what it does, whatever the tool is called."""
    return Use("", use.effect, use.path if use.command is None else None, use.command, use.host)


def _concerns(call: AgentCall, use: Use, worktree: Any) -> bool:
    """Whether an announced call is about what is now done for it."""
    if use.command is not None:
        return call.script(worktree) in (None, use.command) or use.command in (call.title, call.title.strip("`"))
    known = call.uses(worktree)
    return any(one.path in (None, use.path) for one in known)
