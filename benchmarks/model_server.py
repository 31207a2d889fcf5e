"""A model that answers at once, in a process of its own: `python -m benchmarks.model_server` prints its port.

It speaks the Messages API and OpenAI's chat completions, each as well as the programs need that are compared here. What
it says depends on the request alone: asked with the tool Bash (or bash) it works for nine turns and then calls itself
done; asked for `LONG` it answers at length; else it says a word.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agentpane.orchestrator.backends.recorded.wire import (
    LAST_CHUNK,
    STREAM_HEAD,
    BadRequestError,
    Request,
    chunk,
    message_events,
    read_request,
    response,
    sse,
)

TURNS = 10
LONG = "Answer at length."
PIECES = 4_000
PIECE = "and so on with the work "
MODEL = "claude-haiku-4-5"
USAGE = {"input_tokens": 1_000, "output_tokens": 100}
SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"  # how mini-swe-agent is told that the work is done


def command_of(turn: int) -> str:
    return f"echo 'line {turn}' >> notes.txt && cat notes.txt"


def long_answer() -> bytes:
    blocks = [{"type": "text", "text": PIECE * PIECES}]
    return b"".join(map(sse, message_events(blocks, "end_turn", MODEL, USAGE, len(PIECE))))


def answer_of(body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """The blocks of an answer of the Messages API, and why it stops."""
    tools = {tool.get("name") for tool in body.get("tools") or ()}
    turn = sum(message["role"] == "assistant" for message in body["messages"]) + 1
    if "Bash" not in tools or turn >= TURNS:
        return [{"type": "text", "text": "Done."}], "end_turn"
    given = {"command": command_of(turn), "description": "Write a line"}
    call = {"type": "tool_use", "id": f"toolu_{turn}", "name": "Bash", "input": given}
    return [{"type": "text", "text": f"Turn {turn}."}, call], "tool_use"


def completion_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of the chat completions."""
    turn = sum(message["role"] == "assistant" for message in body["messages"]) + 1
    command = command_of(turn) if turn < TURNS else SUBMIT
    called = {"name": "bash", "arguments": json.dumps({"command": command})}
    call = {"id": f"call_{turn}", "type": "function", "function": called}
    message = {"role": "assistant", "content": f"Turn {turn}.", "tool_calls": [call]}
    return {
        "id": f"chatcmpl-{turn}",
        "object": "chat.completion",
        "created": 0,
        "model": body.get("model", MODEL),
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100},
    }


def replies(request: Request, long: bytes) -> bytes:
    """The whole response to a request."""
    if request.method != "POST":
        return response(200, {})
    body: dict[str, Any] = request.json()
    if request.path.split("?")[0].endswith("/chat/completions"):
        return response(200, completion_of(body))
    if "count_tokens" in request.path:
        return response(200, {"input_tokens": 100})
    if not request.path.startswith("/v1/messages"):
        return response(404, {})
    head = STREAM_HEAD % b"req_bench"
    if LONG in json.dumps(body["messages"]):
        return head + long + LAST_CHUNK
    blocks, reason = answer_of(body)
    if not body.get("stream"):
        message: dict[str, Any] = {"id": "msg_bench", "type": "message", "role": "assistant", "model": MODEL}
        return response(200, message | {"content": blocks, "stop_reason": reason, "usage": USAGE})
    events = b"".join(map(sse, message_events(blocks, reason, MODEL, USAGE)))
    events = events.replace(b"msg_local", b"msg_%d" % len(body["messages"]))  # the CLI takes equal names for one answer
    return head + chunk(events) + LAST_CHUNK


async def serve() -> None:
    events = long_answer().split(b"\n\n")[:-1]
    long = b"".join(chunk(event + b"\n\n") for event in events)  # a chunk an event, as servers send them

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, BadRequestError):
            while (request := await read_request(reader)) is not None:
                writer.write(replies(request, long))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # whoever started this closes its end when it is done


@contextmanager
def model_server() -> Iterator[str]:
    """The address of one that runs meanwhile."""
    command = [sys.executable, "-m", "benchmarks.model_server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(serve())
