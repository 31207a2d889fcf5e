"""BashOutput and KillShell: what a command in the background has printed, and its end."""

from __future__ import annotations

import json
import re

from pydantic import Field

from agentpane.domain.json import JsonValue
from agentpane.errors import ErrorCode
from agentpane.orchestrator.tools import refusals
from agentpane.orchestrator.tools.base import OnOutput, Refusal, ToolContext, ToolInput, ToolResult
from agentpane.orchestrator.tools.outputs import bounded
from agentpane.orchestrator.tools.own_process import run_apart
from agentpane.orchestrator.tools.shape import ModelTool
from agentpane.orchestrator.tools.shells import Shell

FILTER_S = 10.0
MATCHER = "agentpane.orchestrator.tree.matching"


class BashOutputInput(ToolInput):
    bash_id: str = Field(min_length=1, description="The name that Bash gave the background command, such as bash_1.")
    filter: str = Field("", description="A regular expression: only lines that match are shown, the others are gone.")


class KillShellInput(ToolInput):
    shell_id: str = Field(min_length=1, description="The name that Bash gave the background command, such as bash_1.")


async def _output(wanted: BashOutputInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    if wanted.filter:
        _check_pattern(wanted.filter)
    shell = _shell(wanted.bash_id, context)
    look = shell.look()
    text = await _matching(look.text, wanted.filter, context) if wanted.filter else look.text
    shown, kept = await bounded(text, context)
    lost = f"[{look.lost} bytes came too fast and are not kept]\n" if look.lost else ""
    state = _state(shell)
    seen = shell.process.refused_hosts, shell.process.killed_for
    data: dict[str, JsonValue] = {"bash_id": shell.id, "running": look.running, **kept, **refusals.data(*seen)}
    data["exit_code"] = look.exit_code
    body = shown.rstrip("\n") or ("(nothing new)" if not wanted.filter else "(nothing new that matches)")
    content = "\n".join(part for part in (f"{lost}{body}", state, refusals.words(*seen)) if part)
    return ToolResult(content, False, state, data)


async def _kill(wanted: KillShellInput, context: ToolContext, on_output: OnOutput) -> ToolResult:
    shell = _shell(wanted.shell_id, context)
    if not shell.running:
        return ToolResult(f"It had ended already. {_state(shell)}", False, "had ended", {"bash_id": shell.id})
    assert context.shells is not None
    await context.shells.kill(shell)
    return ToolResult(f"{shell.id} was ended with everything that it had started.", False, "ended", {})


def _shell(name: str, context: ToolContext) -> Shell:
    shells = context.shells
    shell = shells.get(name) if shells else None
    if shell is None:
        there = ", ".join(shells.names) if shells and shells.names else "none"
        raise Refusal(f"There is no background command {name}. There are: {there}. They end when a run ends or pauses.")
    return shell


def _state(shell: Shell) -> str:
    if shell.running:
        return f"{shell.id} is running."
    return f"{shell.id} was ended." if shell.exit_code is None else f"{shell.id} has ended with code {shell.exit_code}."


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise Refusal(f"The filter cannot be used: {error}.", ErrorCode.VALIDATION_ERROR) from error


async def _matching(text: str, pattern: str, context: ToolContext) -> str:
    done = await run_apart(MATCHER, json.dumps([pattern, text]).encode(), context, FILTER_S)
    if done.timed_out:
        raise Refusal(f"The filter took longer than {FILTER_S:g} s. Use a simpler one; these lines are gone.")
    return done.output.decode("utf-8", "replace")


BASH_OUTPUT = ModelTool(
    name="BashOutput",
    description="Shows what a background command has printed since the last look, and whether it still runs.",
    model=BashOutputInput,
    work=_output,
    target=("bash_id",),
)
KILL_SHELL = ModelTool(
    name="KillShell",
    description="Ends a background command and everything that it started.",
    model=KillShellInput,
    work=_kill,
    target=("shell_id",),
)
