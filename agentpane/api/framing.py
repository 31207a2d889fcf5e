"""How messages lie on the wire: four bytes of length, then JSON.

The length's highest bit says that the message goes on in the next frame, so that no frame is longer than
16 MiB and a long answer still gets through.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

from agentpane.api.codec import dumps, loads

MAX_FRAME = 16 * 1024 * 1024
MAX_ANSWER = 256 * 1024 * 1024  # what a client takes from its engine in one message
READ_AHEAD = 256 * 1024

_HEADER = struct.Struct(">I")
_MORE = 0x8000_0000


class FrameError(Exception):
    """The peer does not speak this protocol."""


def frames(payload: bytes) -> Iterator[bytes]:
    """The pieces in which `payload` is sent, headers included."""
    for start in range(0, max(len(payload), 1), MAX_FRAME):
        piece = payload[start : start + MAX_FRAME]
        more = _MORE if start + MAX_FRAME < len(payload) else 0
        yield _HEADER.pack(len(piece) | more)
        yield piece


def pack(message: Any) -> bytes:
    """A message as it is sent."""
    return b"".join(frames(dumps(message)))


async def read_message(reader: asyncio.StreamReader, limit: int = MAX_FRAME) -> Any:
    """The next message.

    Raises FrameError if it is longer than `limit` or no JSON, EOFError if the peer has ended, at whatever point.
    """
    payload = bytearray()
    more = True
    try:
        while more:
            (header,) = _HEADER.unpack(await reader.readexactly(_HEADER.size))
            more, length = bool(header & _MORE), header & ~_MORE
            if length > MAX_FRAME or len(payload) + length > limit:
                raise FrameError(f"a message of more than {limit:,} bytes")
            payload += await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise EOFError("the peer has ended") from error
    try:
        return loads(bytes(payload))
    except ValueError as error:
        raise FrameError("a message that is not JSON") from error
