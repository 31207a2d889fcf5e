"""An engine that is stopped by command stays stopped, whatever windows are open, until somebody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication

from agentpane.api.client import Client
from agentpane.errors import AgentPaneError
from agentpane.paths import data_folder
from agentpane.ui.desk.link import LinkState
from tests.e2e.driver import Room, at_the_window, stop_engine


@pytest.fixture(autouse=True)
def engine_ends() -> Iterator[None]:
    yield
    stop_engine()


async def engine_answers() -> bool:
    try:
        client = await Client.connect(data_folder())
    except (AgentPaneError, OSError):
        return False
    await client.close()
    return True


def test_a_window_does_not_start_again_what_a_command_has_stopped(qapp: QApplication) -> None:
    async def story(room: Room) -> None:
        person = await room.sit_down()
        link = person.window.desk.link
        await asyncio.to_thread(stop_engine)
        await person.until(lambda: link.state is LinkState.STOPPED, "that the engine was stopped")
        await person.until(lambda: not person.window.strips.engine.isHidden(), "the banner")
        assert not await engine_answers()
        await person.click("banner.engine.again")
        await person.until(lambda: link.state is LinkState.READY, "the engine's return")

    at_the_window(qapp, story)
