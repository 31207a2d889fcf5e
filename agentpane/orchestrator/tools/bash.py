"""Bash: a command in the sandbox. Its end is the end of everything that it started.

A command in the background goes on beside the run; BashOutput looks at it, KillShell ends it.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.orchestrator.tools import refusals
from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.outputs import bounded
from agentpane.orchestrator.tools.shape import ModelTool
from agentpane.orchestrator.tools.shells import MOST
from agentpane.sandbox import Outcome, SandboxCommand

DEFAULT_TIMEOUT_MS = 120_000
MAX_TIMEOUT_MS = 600_000
MAX_COMMAND = 100_000  # bytes; the system has a limit for one argument
SHELL_ID = "shell_id"  # in a result's data: the shell that the call has started


class BashInput(ToolInput):
    command: str = Field(min_length=1, description="The command, run by bash in the worktree.")
    timeout: float = Field(DEFAULT_TIMEOUT_MS, gt=0, description="Milliseconds, 600000 at most; 120000 unless given.")
    run_in_background: bool = Field(
        False, description="Do not wait for it: it goes on until it ends, is killed, or the run ends or pauses."
    )
    description: str = Field("", description="What the command does, in five to ten words.")


async def _bash(wanted: BashInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    _check(wanted)
    if wanted.run_in_background:
        return await _start(wanted, context)
    outcome = await context.sandbox.run(_command(wanted.command, wanted, context), _texts(on_output))
    return await _result(wanted, outcome, context)


def _check(wanted: BashInput) -> None:
    try:
        size = len(wanted.command.encode())
    except UnicodeEncodeError as error:
        raise Refusal("The command holds half a character (a lone surrogate).") from error
    if size > MAX_COMMAND:
        raise Refusal(f"The command has {size:,} bytes. Write a script to a file and run that.")
    if "\0" in wanted.command:
        raise Refusal("The command holds a NUL character.")


def _command(script: str, wanted: BashInput, context: ToolContext) -> SandboxCommand:
    return SandboxCommand(
        script=script,
        worktree=context.worktree,
        readable=context.readable,
        environment=context.environment,
        timeout_s=min(wanted.timeout, MAX_TIMEOUT_MS) / 1000,
        network=context.network,
    )


async def _start(wanted: BashInput, context: ToolContext) -> ToolResult:
    shells = context.shells
    if shells is None:
        raise Refusal("There can be no background commands here. Run it without run_in_background.")
    if shells.is_full:
        raise Refusal(f"{MOST} commands run in the background already. End one with KillShell first.")
    script = f"exec 2>&1; {wanted.command}"
    shell = await shells.start(
        context.sandbox, _command(script, wanted, context), wanted.command, context.turn, context.call_id
    )
    content = (
        f"Started in the background as {shell.id}. BashOutput shows what it prints, KillShell ends it. "
        "It is ended when this run ends or pauses."
    )
    data: dict[str, JsonValue] = {SHELL_ID: shell.id, "sandbox_tier": context.sandbox.tier.value}
    return ToolResult(content, False, f"{shell.id} in the background", data)


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


async def _result(wanted: BashInput, outcome: Outcome, context: ToolContext) -> ToolResult:
    shown, kept = await bounded(outcome.output.decode("utf-8", "replace"), context)
    text = shown.rstrip("\n")
    if outcome.timed_out:
        seconds = min(wanted.timeout, MAX_TIMEOUT_MS) / 1000
        end = f"The command ran longer than {seconds:g} s and was ended with everything that it had started."
        summary = f"ended after {seconds:g} s"
    elif outcome.killed_for is not None:
        end, summary = refusals.TOOK_TOO_MUCH, "ended: it took too much"  # its output ends with what that was
    elif outcome.exit_code != 0:
        end, summary = f"Exit code {outcome.exit_code}", f"exit code {outcome.exit_code}"
    else:
        end, summary = "" if text else "(no output)", "done"
    data: dict[str, JsonValue] = {
        "exit_code": outcome.exit_code,
        "timed_out": outcome.timed_out,
        "truncated": outcome.truncated or "characters left out" in shown,
        "sandbox_tier": context.sandbox.tier.value,
        **refusals.data(outcome.refused_hosts, outcome.killed_for),
        **kept,
    }
    content = "\n".join(part for part in (text, end, refusals.words(outcome.refused_hosts, None)) if part)
    return ToolResult(content, outcome.exit_code != 0, summary, data)


BASH = ModelTool(
    name="Bash",
    description=(
        "Runs a bash command in the worktree and gives its output and exit code. Each call is a fresh shell; whatever "
        "it started ends with it, unless run_in_background is set. Output over 30000 characters is cut in the middle, "
        "and says how to read the rest. In the sandbox only the worktree and /tmp can be written, the .git folder can "
        "be read only, and there may be no network."
    ),
    model=BashInput,
    work=_bash,
    target=("command",),
    mutates=True,
)
