"""Reaching the engine: started once, detached, without secrets; replaced when idle and of another version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from agentpane.api.client import Client
from agentpane.api.commands import GetStatus, StopEngine
from agentpane.api.launcher import connect_or_start, engine_environment, engine_has_ended, ensure_engine
from agentpane.api.protocol import ClientKind
from agentpane.api.server import Server
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.paths import DataFolder
from tests.api.workbench import MemoryWorkbench

BOUND_S = 60.0


@pytest.fixture
async def real(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[DataFolder]:
    """A data folder whose real engine, should one be started, ends with the test."""
    monkeypatch.setenv("AGENTPANE_IDLE_S", "1")
    yield folder
    try:
        client = await Client.connect(folder)
    except AgentPaneError:
        pass
    else:
        await client.do(StopEngine(now=True))
        await client.close()
    assert await engine_has_ended(folder, BOUND_S)


async def test_whoever_comes_at_once_meets_one_engine_in_a_session_of_its_own(real: DataFolder) -> None:
    clients = await asyncio.gather(*(connect_or_start(real, ClientKind.COMMAND) for _ in range(4)))
    assert len({client.engine.epoch for client in clients}) == 1
    engine = psutil.Process(clients[0].engine.pid)
    assert engine.cwd() == "/"
    assert engine.terminal() is None
    assert engine.environ()["AGENTPANE_HOME"] == str(real.root)
    assert (await clients[0].do(GetStatus())).clients == 4
    for client in clients:
        await client.close()


async def test_an_engine_that_was_killed_is_started_again(real: DataFolder) -> None:
    first = await connect_or_start(real)
    psutil.Process(first.engine.pid).kill()
    watch = first.events()
    with pytest.raises(AgentPaneError) as caught:
        await asyncio.wait_for(anext(watch), BOUND_S)
    assert caught.value.code is ErrorCode.ENGINE_UNREACHABLE
    second = await connect_or_start(real)
    assert second.engine.epoch != first.engine.epoch
    await first.close()
    await second.close()


async def test_an_engine_that_cannot_start_is_reported_with_its_last_words(folder: DataFolder) -> None:
    folder.make()
    folder.lock.mkdir()
    with pytest.raises(AgentPaneError) as caught:
        await ensure_engine(folder)
    assert caught.value.code is ErrorCode.ENGINE_UNREACHABLE
    assert "IsADirectoryError" in caught.value.message
    assert caught.value.details["status"] == 1


class OldEngine(MemoryWorkbench):
    """An engine of an earlier version, which leaves when it is told to."""

    async def leave(self, server: Server) -> None:
        await self.stopped.wait()
        await server.close()


async def test_an_idle_engine_of_another_version_is_replaced(real: DataFolder) -> None:
    old = OldEngine()
    server = Server(old, real, "0.0.1")
    await server.start()
    leaving = asyncio.create_task(old.leave(server))
    client = await connect_or_start(real)
    assert client.engine.version != "0.0.1"
    await leaving
    await client.close()


async def test_a_busy_engine_of_another_version_is_left_alone(folder: DataFolder) -> None:
    old = OldEngine()
    old.runs = 1
    server = Server(old, folder, "0.0.1")
    await server.start()
    with pytest.raises(AgentPaneError) as caught:
        await connect_or_start(folder)
    assert caught.value.code is ErrorCode.ENGINE_VERSION
    assert not old.stopped.is_set()
    await server.close()


def test_the_engine_gets_its_surroundings_and_no_secret() -> None:
    kept = {
        "AGENTPANE_HOME": "/a",
        "DBUS_SESSION_BUS_ADDRESS": "unix:",
        "GIT_CONFIG_GLOBAL": "/g",
        "HOME": "/h",
        "LANG": "C",
        "LC_ALL": "C",
        "PATH": "/bin",
        "PYTHON_KEYRING_BACKEND": "k",
        "XDG_RUNTIME_DIR": "/run",
    }
    secrets = {
        "AGENTPANE_API_KEY": "1",
        "ANTHROPIC_API_KEY": "2",
        "ANTHROPIC_BASE_URL": "3",
        "AWS_SECRET_ACCESS_KEY": "4",
        "GITHUB_TOKEN": "5",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "http.extraHeader",
        "GIT_CONFIG_VALUE_0": "7",
        "SSH_AUTH_SOCK": "6",
    }
    assert engine_environment({**kept, **secrets}) == kept
