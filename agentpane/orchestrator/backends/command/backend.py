"""The command backend: any shell command as an agent, such as a formatter, a codemod or a script.

It reads the task's text on standard input, or as `{prompt}` where the command has that; it works in the worktree,
confined, and its exit status says whether the work is done. It has no tools, and what it costs is not known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.json import JsonValue
from agentpane.domain.limits import invalid
from agentpane.domain.placeholder import PROMPT, PROMPT_VARIABLE, check_prompt, with_parameter
from agentpane.domain.policy import Effect, Judgement, Use
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.backends import retelling
from agentpane.orchestrator.backends.base import (
    BackendEvent,
    Brief,
    Ended,
    Host,
    TextBlock,
    TextDelta,
    ToolCall,
    ToolCalled,
    ToolFinished,
    ToolOutput,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from agentpane.orchestrator.backends.command.plain import PlainText
from agentpane.orchestrator.tools import ToolResult, refusals
from agentpane.sandbox import Outcome, SandboxCommand

LONGEST_VARIABLE = 120_000  # bytes; Linux allows 128 KiB for one string
NO_LIMIT_S = 30 * 86_400.0  # a command may take as long as the run
LAST_LINES = 20
SILENCE = "The command has ended without a word."
SHOWN_TEXT = 60_000  # characters of output that a text block holds


class CommandBackend:
    """Serves many runs at once; it holds nothing of any."""

    name: str = BackendName.COMMAND.value

    def check(self, config: AgentConfig) -> None:
        """Raises AgentPaneError with VALIDATION_ERROR if there is no command, or `{prompt}` stands where it cannot."""
        if not (config.command or "").strip():
            raise invalid("command", "An agent of this backend needs a command.", 'Name one: --command "ruff format ."')
        if "\0" in (config.command or ""):
            raise invalid("command", "The command holds a NUL character.")
        check_prompt(config.command or "")

    async def play(self, brief: Brief, host: Host) -> AsyncGenerator[BackendEvent, None]:
        """See `Backend.play`. One call, and what it printed. Raises AGENT_EXECUTION_ERROR when its status is not 0."""
        self.check(brief.agent)
        turn = brief.first_turn
        messages = await host.may_start_turn(turn)
        call = ToolCall(f"command_{turn}", "Bash", {"command": brief.agent.command or ""})
        yield TurnStarted(turn)
        yield ToolCalled(turn, call)
        began = time.monotonic()
        yield TurnFinished(turn, "tool_use", self.name, None, None, 0, None)
        use = Use("Bash", Effect.EXECUTE, command=brief.agent.command)
        verdict = await host.decide(turn, call, use, call_summary(brief), brief.agent.command or "")
        if verdict.judgement is Judgement.DENY:
            words = f"The command was not run: {verdict.rule}"
            yield ToolFinished(turn, call, ToolResult(words, True, "denied"), 0, verdict.rule)
            raise AgentPaneError(
                ErrorCode.AGENT_TOOL_NOT_ALLOWED, words, "Change the policy or the agent, then resume the run."
            )
        yield ToolStarted(turn, call, call_summary(brief), True, verdict.rule)
        running = Running(brief, prompt_text(brief, messages))
        try:
            async for text in running.output():
                yield ToolOutput(turn, call.id, text)
            outcome = await running.outcome()
        finally:
            await running.end()
        elapsed = round((time.monotonic() - began) * 1000)
        refused = refusals.words(outcome.refused_hosts, outcome.killed_for)
        printed = "\n".join(part for part in (running.printed.strip("\n"), refused) if part)
        failed = outcome.exit_code != 0
        summary = f"exit code {outcome.exit_code}"
        data: dict[str, JsonValue] = {
            "exit_code": outcome.exit_code,
            "sandbox_tier": brief.context.sandbox.tier.value,
            **refusals.data(outcome.refused_hosts, outcome.killed_for),
        }
        yield ToolFinished(turn, call, ToolResult(last_lines(printed) or summary, failed, summary, data), elapsed)
        if failed:
            raise AgentPaneError(
                ErrorCode.AGENT_EXECUTION_ERROR,
                f"The command ended with exit code {outcome.exit_code}. {last_lines(printed)}".strip(),
                "What it changed is kept in the worktree. Mend the command or the cause, then resume the run.",
                {"exit_code": outcome.exit_code, "output": last_lines(printed)},
            )
        said = shortened(printed) or SILENCE
        yield TurnStarted(turn + 1)
        yield TextDelta(turn + 1, said)
        yield TextBlock(turn + 1, said, plain=True)
        yield TurnFinished(turn + 1, "end_turn", self.name, None, None, 0, None)
        yield Ended(last_lines(said))

    async def close(self) -> None:
        """Nothing is held between runs."""


class Running:
    """The command, its output as it comes, and its end."""

    def __init__(self, brief: Brief, prompt: str) -> None:
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._plain = PlainText()
        self.printed = ""
        self._job = asyncio.create_task(brief.context.sandbox.run(sandboxed(brief, prompt), self._take))
        self._job.add_done_callback(lambda job: self._texts.put_nowait(None))

    async def output(self) -> AsyncGenerator[str, None]:
        """Each piece of text; ends when the command and all that it started have ended."""
        while (text := await self._texts.get()) is not None:
            self._keep(text)
            yield text
        rest = self._plain.take(b"", last=True)
        if rest:
            self._keep(rest)
            yield rest

    async def outcome(self) -> Outcome:
        return await self._job

    async def end(self) -> None:
        """Kill what still runs, and wait until nothing is left."""
        self._job.cancel()
        with suppress(asyncio.CancelledError, AgentPaneError):
            await self._job

    def _take(self, chunk: bytes) -> None:
        text = self._plain.take(chunk)
        if text:
            self._texts.put_nowait(text)

    def _keep(self, text: str) -> None:
        self.printed += text
        if len(self.printed) > 4 * SHOWN_TEXT:
            self.printed = shortened(self.printed)


def sandboxed(brief: Brief, prompt: str) -> SandboxCommand:
    """The command as the sandbox runs it. The prompt is never spliced into it: `{prompt}` is a quoted parameter."""
    command = brief.agent.command or ""
    takes_argument = PROMPT in command
    environment = {**brief.context.environment, "AGENTPANE_TASK_ID": brief.task_id}
    script = command
    if len(prompt.encode("utf-8", "replace")) <= LONGEST_VARIABLE:
        environment[PROMPT_VARIABLE] = prompt.replace("\0", "")
        script = with_parameter(command)
    elif takes_argument:
        raise AgentPaneError(
            ErrorCode.AGENT_EXECUTION_ERROR,
            "The task's text is too long to be given to the command as {prompt}.",
            "Let the command read it on standard input, by leaving {prompt} out of it. Nothing was run.",
        )
    return SandboxCommand(
        script=script,
        worktree=brief.context.worktree,
        readable=brief.context.readable,
        environment=environment,
        timeout_s=NO_LIMIT_S,
        network=brief.context.network,
        stdin=b"" if takes_argument else prompt.encode("utf-8", "replace"),
        read_only=brief.read_only,
    )


def prompt_text(brief: Brief, messages: tuple[str, ...]) -> str:
    """The task, and everything that a person has said about the work since."""
    said = [retelling.said_by_person(brief.history), *messages]
    return "\n\n".join(text for text in said if text)


def call_summary(brief: Brief) -> str:
    return " ".join((brief.agent.command or "").split())[:200]


def last_lines(text: str) -> str:
    return "\n".join(text.splitlines()[-LAST_LINES:])[-4_000:]


def shortened(text: str) -> str:
    if len(text) <= SHOWN_TEXT:
        return text
    half = SHOWN_TEXT // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
