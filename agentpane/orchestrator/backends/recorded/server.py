"""A Messages API on loopback that plays recordings.

Only a client with this process's random key is answered. The tokens that it counts are an estimate from the
number of characters, for nothing was spent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from agentpane.orchestrator.backends.base import Endpoint
from agentpane.orchestrator.backends.recorded.recording import DiffersError, RecordedTurn, Recording, find, next_turn
from agentpane.orchestrator.backends.recorded.wire import (
    HEAD_LIMIT,
    LAST_CHUNK,
    STREAM_HEAD,
    BadRequestError,
    Block,
    Request,
    chunk,
    error_body,
    message_events,
    read_request,
    response,
    sse,
)

MODEL = "recorded"
CHARACTERS_A_TOKEN = 4
PIECE = 24  # characters of a delta
DIFFERS = 422  # a status that the harness takes for a breach of the protocol, and never tries again
AT_ITS_END = (
    "This reply is recorded, and the recording of this card ends here: it has no answer to what you said. "
    "Nothing was changed. Approve the diff, or add a key to let a real model go on."
)


class RecordedServer:
    """Answers from the recordings. pace_s: the wait before each piece of an answer."""

    def __init__(self, recordings: Sequence[Recording], pace_s: float) -> None:
        self._recordings = recordings
        self._pace_s = pace_s
        self._key = secrets.token_urlsafe(32)
        self._server: asyncio.Server | None = None
        self._handlers: set[asyncio.Task[None]] = set()
        self.folders: list[str] = []  # the worktrees whose paths may stand in results

    async def start(self) -> Endpoint:
        """Listen on a free port of this machine. Returns how to reach it."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=HEAD_LIMIT)
        port = self._server.sockets[0].getsockname()[1]
        return Endpoint(f"http://127.0.0.1:{port}", api_key=self._key)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for handler in tuple(self._handlers):
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        try:
            with contextlib.suppress(ConnectionError, BadRequestError, asyncio.CancelledError):
                while (request := await read_request(reader)) is not None:
                    await self._answer(request, writer)
        finally:
            self._handlers.discard(handler)
            writer.close()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(bearer.encode(), self._key.encode()):
            writer.write(response(401, error_body("authentication_error", "invalid key")))
        elif (request.method, request.path) != ("POST", "/v1/messages"):
            writer.write(response(404, error_body("not_found_error", request.path)))
        else:
            body: Mapping[str, Any] = request.json()
            try:
                recording = find(self._recordings, body["messages"])
                turn = next_turn(recording, body["messages"], self.folders)
            except DiffersError as error:
                writer.write(response(DIFFERS, error_body("invalid_request_error", str(error))))
            except (LookupError, TypeError):
                writer.write(response(400, error_body("invalid_request_error", "not a request for messages")))
            else:
                await self._play(turn, len(request.body), writer)
        await writer.drain()

    async def _play(self, turn: RecordedTurn | None, asked: int, writer: asyncio.StreamWriter) -> None:
        blocks = _blocks(turn)
        written = sum(len(json.dumps(block)) for block in blocks)
        usage = {"input_tokens": asked // CHARACTERS_A_TOKEN, "output_tokens": written // CHARACTERS_A_TOKEN}
        reason = "tool_use" if turn is not None and turn.calls else "end_turn"
        writer.write(STREAM_HEAD % f"req_{secrets.token_hex(8)}".encode())
        for event in message_events(blocks, reason, MODEL, usage, PIECE):
            if self._pace_s and event["type"] == "content_block_delta":
                await asyncio.sleep(self._pace_s)
            writer.write(chunk(sse(event)))
            await writer.drain()
        writer.write(LAST_CHUNK)


def _blocks(turn: RecordedTurn | None) -> list[Block]:
    if turn is None:
        return [{"type": "text", "text": AT_ITS_END}]
    said: list[Block] = [{"type": "text", "text": turn.text}] if turn.text else []
    calls: list[Block] = [
        {"type": "tool_use", "id": f"toolu_{secrets.token_hex(12)}", "name": call.name, "input": dict(call.input)}
        for call in turn.calls
    ]
    return [*said, *calls]
