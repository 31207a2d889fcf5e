"""The protocol's library, imported in a thread when it is first needed: it is slow to import."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

UPDATE = "session/update"
PERMISSION = "session/request_permission"
READ = "fs/read_text_file"
WRITE = "fs/write_text_file"
TERMINAL = "terminal/create"
QUESTION = "elicitation/create"


@dataclass(frozen=True, slots=True)
class Library:
    """What of it is used. schema: its module of message models; requests: how each request's parameters are read."""

    schema: Any
    connection: Any
    error: Any
    version: int
    requests: Mapping[str, TypeAdapter[Any]]
    update: TypeAdapter[Any]


class Loader:
    """Loads it once."""

    def __init__(self) -> None:
        self._loading: asyncio.Task[Library] | None = None

    async def get(self) -> Library:
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_load), name="acp-import")
        return await asyncio.shield(self._loading)


def _load() -> Library:
    from acp import schema
    from acp.connection import Connection
    from acp.exceptions import RequestError
    from acp.meta import PROTOCOL_VERSION

    return Library(
        schema=schema,
        connection=Connection,
        error=RequestError,
        version=PROTOCOL_VERSION,
        requests={
            PERMISSION: TypeAdapter(schema.RequestPermissionRequest),
            READ: TypeAdapter(schema.ReadTextFileRequest),
            WRITE: TypeAdapter(schema.WriteTextFileRequest),
            TERMINAL: TypeAdapter(schema.CreateTerminalRequest),
            QUESTION: TypeAdapter(schema.CreateElicitationRequest),
        },
        update=TypeAdapter(schema.SessionNotification),
    )
