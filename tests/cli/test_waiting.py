"""What a command says while it waits for a run."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

from agentpane.api.commands import EditProject
from agentpane.api.launcher import connect_or_start
from agentpane.api.protocol import ClientKind
from tests.backends.wire import ScriptedServer
from tests.cli.conftest import Commands
from tests.cli.test_end_to_end import BOUND_S, add_task, write


def one_at_a_time(pane: Commands, project: str) -> None:
    async def change() -> None:
        client = await connect_or_start(pane.folder, ClientKind.COMMAND, "test")
        try:
            await client.do(EditProject(project, max_concurrent_agents=1))
        finally:
            await client.close()

    asyncio.run(change())


def test_a_run_that_has_to_wait_for_a_place_says_so_once(pane: Commands, repo: Path) -> None:
    paused = add_task(pane, repo, "Asks")
    waiting = pane.json("task", "add", "shop", "Waits")["id"]
    one_at_a_time(pane, "shop")
    with ScriptedServer(write("d.txt", "d\n")) as server:
        assert pane("run", paused, "--policy", "ask", env=server.environment).status == 4
        running = pane.start("run", waiting, "--json", env=server.environment)
        assert running.stderr is not None
        told = running.stderr.readline().decode()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=BOUND_S)
    assert told.startswith("Queued, number 1: 1 of 1 places are taken, 1 of them by paused runs that wait for you"), (
        told
    )
    assert (running.returncode, json.loads(out)["runs"][-1]["status"], err) == (130, "queued", b"")
