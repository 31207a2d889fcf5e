"""Our own tools, served to the program over its own line: commands run in our sandbox and not in the program's, and
the tools of servers are called by us.

They speak the Model Context Protocol, whose messages come inside the program's requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agentpane.errors import AgentPaneError
from agentpane.orchestrator.backends.base import ToolCall, ToolOutput
from agentpane.orchestrator.backends.claude_code.launching import SERVER
from agentpane.orchestrator.tools import Tool, ToolContext, ToolResult, toolbox

SERVED = ("Bash", "BashOutput", "KillShell")
LONGEST_NAME = 128  # characters of a tool's name on the wire
PROTOCOL = "2025-06-18"
TAP_LIMIT = 256 * 1024  # characters of a call's output that wait to be shown; older ones are dropped
METHOD_NOT_FOUND, INVALID_PARAMS = -32601, -32602

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A call of ours has ended. request: the program's, which waits for the result."""

    request: Message
    call: ToolCall
    turn: int
    result: ToolResult


class OutputWaits:
    """There is output of a running call that nobody has been shown."""


class OwnTools:
    """Of one run. What comes of the calls is put into `inbox`."""

    def __init__(
        self, granted: tuple[str, ...], extra: tuple[Tool, ...], context: ToolContext, inbox: asyncio.Queue[object]
    ) -> None:
        fit = {tool.name: tool for tool in extra if len(f"mcp__{SERVER}__{tool.name}") <= LONGEST_NAME}
        self._tools: Mapping[str, Tool] = {**toolbox(name for name in SERVED if name in granted), **fit}
        self._context = context
        self._inbox = inbox
        self._jobs: dict[str, asyncio.Task[None]] = {}  # by the name of the program's request
        self._pieces: dict[str, tuple[int, str]] = {}

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def reply(self, message: Message) -> dict[str, object]:
        """The answer to anything but a call."""
        number, method = message.get("id"), message.get("method")
        if number is None:
            return {"jsonrpc": "2.0", "result": {}}  # a notice, which is acknowledged all the same
        result: dict[str, object]
        if method == "initialize":
            asked = message.get("params")
            version = asked.get("protocolVersion", PROTOCOL) if isinstance(asked, Mapping) else PROTOCOL
            result = {
                "protocolVersion": version,
                "capabilities": {"tools": {}},
                "serverInfo": {"name": SERVER, "version": "1"},
            }
        elif method == "tools/list":
            described = [
                {"name": tool.name, "description": tool.description, "inputSchema": tool.input_schema}
                for tool in self._tools.values()
            ]
            result = {"tools": described}
        elif method == "ping":
            result = {}
        else:
            return failure(message, METHOD_NOT_FOUND, f"there is no method {method}")
        return {"jsonrpc": "2.0", "id": number, "result": result}

    def serves(self, name: object) -> bool:
        return name in self._tools

    def start(self, request: Message, turn: int, call: ToolCall) -> None:
        """Carry out a call that has been allowed. Its result comes into the inbox as Done."""
        job = asyncio.create_task(self._run(request, turn, call), name=f"claude-code-{call.name}")
        name = str(request["request_id"])
        self._jobs[name] = job
        job.add_done_callback(lambda _: self._jobs.pop(name, None))

    def cancel(self, request_id: object) -> None:
        job = self._jobs.get(str(request_id))
        if job is not None:
            job.cancel()

    def take_output(self) -> tuple[ToolOutput, ...]:
        """What running calls have printed since the last time."""
        pieces, self._pieces = self._pieces, {}
        return tuple(ToolOutput(turn, call_id, text) for call_id, (turn, text) in pieces.items())

    async def close(self) -> None:
        """End what still runs."""
        jobs = tuple(self._jobs.values())
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)

    async def _run(self, request: Message, turn: int, call: ToolCall) -> None:
        def show(text: str) -> None:
            _, waiting = self._pieces.get(call.id, (turn, ""))
            self._pieces[call.id] = (turn, (waiting + text)[-TAP_LIMIT:])
            if not waiting and not self._inbox.full():
                self._inbox.put_nowait(OutputWaits())

        context = replace(self._context, turn=turn, call_id=call.id)
        try:
            result = await self._tools[call.name].run(call.input, context, show)
        except AgentPaneError as error:
            words = f"{error.message} {error.hint}".strip()
            result = ToolResult(words, True, error.message, error_code=error.code)
        await self._inbox.put(Done(request, call, turn, result))


def served(message: Message, result: ToolResult) -> dict[str, object]:
    content = [{"type": "text", "text": result.content}]
    content += [{"type": "image", "data": image.data, "mimeType": image.media_type} for image in result.images]
    return {"jsonrpc": "2.0", "id": message.get("id"), "result": {"content": content, "isError": result.is_error}}


def failure(message: Message, code: int, why: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": code, "message": why}}
