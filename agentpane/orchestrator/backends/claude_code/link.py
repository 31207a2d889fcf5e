"""The line to the program: one JSON document a line in both directions, and its errors on a stream of their own."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.sandbox.command import Process

STRAY_LINES = 20  # lines that are no messages and are borne with
STDERR_LINES = 20  # the last ones are told when the program dies
LINE_SHOWN = 300
QUEUE = 256

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Hangup:
    """The program says nothing more. exit_code: how it ended."""

    exit_code: int


class Link:
    """One program. `inbox` has its messages in order, and whatever else is put there."""

    def __init__(self, process: Process, secrets: Sequence[str]) -> None:
        self.inbox: asyncio.Queue[object] = asyncio.Queue(QUEUE)
        self._process = process
        self._secrets = [secret for secret in secrets if secret]
        self._errors: deque[str] = deque(maxlen=STDERR_LINES)
        self._numbers = count(1)
        self._jobs = [
            asyncio.create_task(self._read(), name="claude-code-output"),
            asyncio.create_task(self._read_errors(), name="claude-code-errors"),
        ]

    async def send(self, message: Message) -> None:
        """A program that is gone hears nothing; that it is gone comes from its output."""
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except (OSError, RuntimeError):
            return

    async def request(self, **request: object) -> str:
        """Ask the program for something; the answer comes among its messages under the returned name."""
        name = f"agentpane-{next(self._numbers)}"
        await self.send({"type": "control_request", "request_id": name, "request": request})
        return name

    async def answer(self, request: Message, response: Mapping[str, object]) -> None:
        body = {"subtype": "success", "request_id": request["request_id"], "response": response}
        await self.send({"type": "control_response", "response": body})

    async def refuse(self, request: Message, why: str) -> None:
        body = {"subtype": "error", "request_id": request["request_id"], "error": why}
        await self.send({"type": "control_response", "response": body})

    async def say(self, text: str) -> None:
        """Give the program a message of the person's, to be taken as it is written."""
        content = {"role": "user", "content": [{"type": "text", "text": text}]}
        await self.send(
            {"type": "user", "message": content, "parent_tool_use_id": None, "session_id": "", "client_composed": True}
        )

    def last_errors(self) -> str:
        return self.clean("\n".join(self._errors))

    def clean(self, text: str) -> str:
        """The text without the keys that the program was given."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text

    async def close(self) -> None:
        """End the program and everything that it started."""
        try:
            await self._process.end()
        finally:
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def _read(self) -> None:
        strays = 0
        while True:
            try:
                line = (await self._process.stdout.readline()).strip()
            except ValueError:  # longer than the reader bears
                await self.inbox.put(_protocol_fault("a line that has no end"))
                return
            if not line:
                if self._process.stdout.at_eof():
                    break
                continue
            try:
                message = json.loads(line)
            except (ValueError, RecursionError):
                message = None
            if isinstance(message, dict) and isinstance(message.get("type"), str):
                await self.inbox.put(message)
                continue
            strays += 1
            if line.startswith(b"{") or strays > STRAY_LINES:
                shown = self.clean(line.decode("utf-8", "replace"))[:LINE_SHOWN]
                await self.inbox.put(_protocol_fault(f"this: {shown}"))
                return
        code = await self._process.wait()
        await asyncio.wait([self._jobs[1]], timeout=1)  # what it said last, if its children let go of the stream
        await self.inbox.put(Hangup(code))

    async def _read_errors(self) -> None:
        while True:
            try:
                line = await self._process.stderr.readline()
            except ValueError:
                continue
            if not line:
                return
            if text := line.decode("utf-8", "replace").strip():
                self._errors.append(text[:LINE_SHOWN])


def _protocol_fault(what: str) -> AgentPaneError:
    return AgentPaneError(
        ErrorCode.BACKEND_PROTOCOL,
        f"Claude Code said something that is no message: {what}",
        "Resume the run; if it happens again, another version of Claude Code may be needed. Nothing was lost.",
    )
