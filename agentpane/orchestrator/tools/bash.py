"""Bash: a command in the sandbox. Its end is the end of everything that it started."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.tools.base import (
    OnOutput,
    Refusal,
    ToolContext,
    ToolInput,
    ToolResult,
    one_line,
    parsed,
    refused,
    schema_of,
)
from agentpane.sandbox import Outcome, SandboxCommand

DEFAULT_TIMEOUT_MS = 120_000
MAX_TIMEOUT_MS = 600_000
MAX_COMMAND = 100_000  # bytes; the system has a limit for one argument
MAX_CONTENT = 30_000  # characters that the model reads


class BashInput(ToolInput):
    command: str = Field(min_length=1, description="The command, run by bash in the worktree.")
    timeout: float = Field(DEFAULT_TIMEOUT_MS, gt=0, description="Milliseconds, 600000 at most; 120000 unless given.")
    run_in_background: bool = Field(False, description="Not available.")
    description: str = Field("", description="What the command does, in five to ten words.")


class BashTool:
    name = "Bash"
    description = (
        "Runs a bash command in the worktree and gives its output and exit code. Each call is a fresh shell; whatever "
        "it started ends with it. Output over 30000 characters is cut in the middle. In the sandbox only the worktree "
        "and /tmp can be written, the .git folder can be read only, and there may be no network."
    )
    input_schema: dict[str, Any] = schema_of(BashInput)
    mutates = True

    async def run(self, input: Mapping[str, object], context: ToolContext, on_output: OnOutput) -> ToolResult:
        """See Tool.run."""
        try:
            wanted = parsed(BashInput, input)
            _check(wanted)
            outcome = await context.sandbox.run(_command(wanted, context), _texts(on_output))
        except Refusal as refusal:
            return refused(refusal)
        except AgentPaneError as error:
            return refused(Refusal(f"{error.message} {error.hint}".strip(), error.code))
        return _result(wanted, outcome, context.sandbox.tier.value)

    def describe(self, input: Mapping[str, object]) -> str:
        return one_line(input, "command")


def _check(wanted: BashInput) -> None:
    if wanted.run_in_background:
        raise Refusal("`run_in_background` is not available: a command and all that it starts end with the call.")
    try:
        size = len(wanted.command.encode())
    except UnicodeEncodeError as error:
        raise Refusal("The command holds half a character (a lone surrogate).") from error
    if size > MAX_COMMAND:
        raise Refusal(f"The command has {size:,} bytes. Write a script to a file and run that.")
    if "\0" in wanted.command:
        raise Refusal("The command holds a NUL character.")


def _command(wanted: BashInput, context: ToolContext) -> SandboxCommand:
    return SandboxCommand(
        script=wanted.command,
        worktree=context.worktree,
        readable=context.readable,
        environment=context.environment,
        timeout_s=min(wanted.timeout, MAX_TIMEOUT_MS) / 1000,
        network=context.network,
    )


def _texts(on_output: OnOutput) -> Callable[[bytes], None] | None:
    """The observer of text as one of bytes; a character cut between two chunks waits for its rest."""
    if on_output is None:
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def take(chunk: bytes) -> None:
        text = decoder.decode(chunk)
        if text:
            on_output(text)

    return take


def _result(wanted: BashInput, outcome: Outcome, tier: str) -> ToolResult:
    whole = outcome.output.decode("utf-8", "replace")
    shortened = len(whole) > MAX_CONTENT
    text = _shortened(whole).rstrip("\n")
    if outcome.timed_out:
        seconds = min(wanted.timeout, MAX_TIMEOUT_MS) / 1000
        end = f"The command ran longer than {seconds:g} s and was ended with everything that it had started."
        summary = f"ended after {seconds:g} s"
    elif outcome.exit_code != 0:
        end, summary = f"Exit code {outcome.exit_code}", f"exit code {outcome.exit_code}"
    else:
        end, summary = "" if text else "(no output)", "done"
    data: dict[str, JsonValue] = {
        "exit_code": outcome.exit_code,
        "timed_out": outcome.timed_out,
        "truncated": outcome.truncated or shortened,
        "sandbox_tier": tier,
    }
    content = "\n".join(part for part in (text, end) if part)
    return ToolResult(content, outcome.exit_code != 0, summary, data)


def _shortened(text: str) -> str:
    if len(text) <= MAX_CONTENT:
        return text
    half = MAX_CONTENT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
