"""A door that is open for the test, and clients that leave with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from agentpane.api.client import Client
from agentpane.api.protocol import ClientKind
from agentpane.api.server import Server
from agentpane.paths import DataFolder, data_folder
from tests.api.workbench import MemoryWorkbench

VERSION = "1.2.3"

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
def workbench() -> MemoryWorkbench:
    return MemoryWorkbench()


@pytest.fixture
def folder(home: Path) -> DataFolder:
    made = data_folder()
    made.make()
    return made


@pytest.fixture
async def server(workbench: MemoryWorkbench, folder: DataFolder) -> AsyncIterator[Server]:
    server = Server(workbench, folder, VERSION)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def connect(server: Server, folder: DataFolder) -> AsyncIterator[Connect]:
    clients: list[Client] = []

    async def make(kind: ClientKind = ClientKind.COMMAND, name: str = "test") -> Client:
        clients.append(await Client.connect(folder, kind, name, VERSION))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
