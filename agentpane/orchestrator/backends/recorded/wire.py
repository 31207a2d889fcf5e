"""The wire format of the Messages API, as a server writes it: one request in, server-sent events out.

Knows HTTP/1.1 just well enough for a client on loopback, and nothing of what is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024

REASONS: Mapping[int, str] = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found"}

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\nrequest-id: %s\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"

Block = Mapping[str, object]  # a content block as the API has it
Event = Mapping[str, object]  # a stream event as the API has it; its `type` is also the SSE event name


class BadRequestError(Exception):
    """What came in is not a request that this server understands."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    def json(self) -> dict[str, object]:
        """Raises BadRequestError if the body is not a JSON object."""
        try:
            value = json.loads(self.body)
        except ValueError as error:
            raise BadRequestError("the body is not JSON") from error
        if not isinstance(value, dict):
            raise BadRequestError("the body is not a JSON object")
        return value


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when the peer has closed it.

    Raises BadRequestError for anything that is no HTTP/1.1 request with a content-length.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise BadRequestError("the request is cut") from error
    except asyncio.LimitOverrunError as error:
        raise BadRequestError("the head is too long") from error
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        raise BadRequestError("not an HTTP request")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_LIMIT:
        raise BadRequestError("the length of the body is not acceptable")
    try:
        body = await reader.readexactly(int(length))
    except asyncio.IncompleteReadError as error:
        raise BadRequestError("the request is cut") from error
    return Request(words[0], words[1], headers, body)


def response(status: int, body: object, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole response; `body` is sent as JSON unless it is bytes already."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(payload)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n{head}\r\n".encode("latin-1") + payload


def error_body(kind: str, message: str, **details: object) -> dict[str, object]:
    """An error as the API words it. `details` are its machine-readable part, such as error_code."""
    error: dict[str, object] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": "req_local"}


def sse(event: Event) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (str(event["type"]).encode(), json.dumps(event).encode())


def chunk(data: bytes) -> bytes:
    """`data` in the chunked transfer coding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def message_events(
    blocks: Sequence[Block], stop_reason: str | None, model: str, usage: Mapping[str, int], piece: int = 24
) -> Iterator[Event]:
    """The stream events of one answer. piece: the characters of a delta.

    A tool_use block may carry `raw`, the exact text to send as its input, whole JSON or not.
    usage: input_tokens, output_tokens and, where there are any, the cache's counts.
    """
    opening = {**usage, "output_tokens": 1}
    message: dict[str, object] = {"id": "msg_local", "type": "message", "role": "assistant", "model": model}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": opening}
    yield {"type": "message_start", "message": message}
    for index, block in enumerate(blocks):
        start, deltas = _parts(block, piece)
        yield {"type": "content_block_start", "index": index, "content_block": start}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    closing: dict[str, object] = {"stop_reason": stop_reason, "stop_sequence": None}
    yield {"type": "message_delta", "delta": closing, "usage": {"output_tokens": usage.get("output_tokens", 0)}}
    yield {"type": "message_stop"}


def _parts(block: Block, piece: int) -> tuple[dict[str, object], list[dict[str, object]]]:
    """How a block begins, and the deltas that fill it."""
    match block["type"]:
        case "text":
            text = str(block["text"])
            return {"type": "text", "text": ""}, [{"type": "text_delta", "text": part} for part in cut(text, piece)]
        case "thinking":
            deltas: list[dict[str, object]] = [
                {"type": "thinking_delta", "thinking": part} for part in cut(str(block["thinking"]), piece)
            ]
            signature: dict[str, object] = {"type": "signature_delta", "signature": block.get("signature", "")}
            return {"type": "thinking", "thinking": "", "signature": ""}, [*deltas, signature]
        case "tool_use":
            raw = str(block["raw"]) if "raw" in block else json.dumps(block["input"])
            start = {"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}
            return start, [{"type": "input_json_delta", "partial_json": part} for part in cut(raw, piece)]
        case _:
            return dict(block), []


def cut(text: str, piece: int) -> list[str]:
    return [text[at : at + piece] for at in range(0, len(text), piece)]
