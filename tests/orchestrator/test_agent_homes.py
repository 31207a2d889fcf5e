"""What agents that are programs keep in the data folder goes when their card has no use for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentpane import mounts
from agentpane.api import commands as c
from agentpane.db.references import new_id
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.tasks import Task
from tests.orchestrator.conftest import Bench, git, running
from tests.orchestrator.test_programs import agent_in

PINNED = "refs/agentpane/run/"
STEPS = [["call", "1", "edit", "Write c", {"path": "c.txt", "content": "c\n"}, "allow_once"], ["say", "Done."]]


async def reviewed(bench: Bench, repository: Path, config: AgentConfig) -> Task:
    project = await bench.project(repository)
    await bench.engine.do(c.AddAgent(project.id, "Own", BackendName.ACP, config=config))
    return await bench.reviewed(await bench.start(await bench.card(project, agent="Own")))


@pytest.mark.parametrize("how", ["merge", "cancel", "purge"])
async def test_a_cards_homes_go_with_it_and_nothing_else_does(
    data: Path, repository: Path, tmp_path: Path, how: str
) -> None:
    config = AgentConfig(command=agent_in(repository, STEPS).command, policy="free")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept\n")
    async with running(data, {}) as bench:
        task = await reviewed(bench, repository, config)
        assert task.card.agent_id is not None
        home = data / "agents" / task.card.id / task.card.agent_id / "home"
        assert home.is_dir()
        closed = home / "closed"
        (closed / "inner").mkdir(parents=True)
        (closed / "link").symlink_to(outside)
        (closed / "inner" / "token").write_text("secret\n")
        closed.chmod(0o500)
        (data / "agents" / "mine.md").write_text("---\nname: mine\ndescription: mine\n---\nMine.\n")
        if how == "merge":
            await bench.engine.do(c.Approve(task.card.id))
        elif how == "cancel":
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
        else:
            assert git(repository, "for-each-ref", PINNED) != ""
            await bench.engine.do(c.RemoveProject(task.card.project_id, purge=True))
            assert git(repository, "for-each-ref", PINNED) == ""
        assert [path.name for path in (data / "agents").iterdir()] == ["mine.md"]
    assert (outside / "kept.txt").read_text() == "kept\n"


async def test_an_engine_removes_what_an_earlier_one_left_and_keeps_what_waits_and_what_is_a_persons(
    data: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AgentConfig(command=agent_in(repository, STEPS).command, policy="free")
    async with running(data, {}) as bench:
        task = await reviewed(bench, repository, config)
        idle = await bench.card(await bench.engine.do(c.GetProject(task.card.project_id)), "Idle")
    folder = data / "agents"
    gone, of_a_person, linked, mounted = new_id(), new_id(), new_id(), new_id()
    for name in (gone, idle.card.id, mounted):
        (folder / name / new_id() / "home").mkdir(parents=True)
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "table")
    place = os.path.realpath(folder / mounted / "home")
    (tmp_path / "table").write_text(f"36 22 8:1 /home/ada/photos {place} rw - ext4 /dev/sda1 rw\n")
    (folder / of_a_person / "notes").mkdir(parents=True)
    (folder / "templates").mkdir()
    (tmp_path / "outside" / new_id()).mkdir(parents=True)
    (folder / linked).symlink_to(tmp_path / "outside")
    async with running(data, {}) as bench:
        await bench.until(task, lambda _: not (folder / gone).exists() and not (folder / idle.card.id).exists())
    assert {path.name for path in folder.iterdir()} == {task.card.id, of_a_person, "templates", linked, mounted}
    assert len(list((tmp_path / "outside").iterdir())) == 1
