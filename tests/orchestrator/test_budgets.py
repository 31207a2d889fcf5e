"""Runs are held to their budgets before every request, warned at four fifths, and go on when a person says so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from agentpane.api import commands as c
from agentpane.domain.agents import AgentConfig, BackendName
from agentpane.domain.budgets import Budget, Scope
from agentpane.domain.costs import CostGroup
from agentpane.domain.projects import Project
from agentpane.domain.runs import PauseReason, RunStatus
from agentpane.domain.sessions import EventKind
from agentpane.errors import AgentPaneError, ErrorCode
from tests.backends.wire import Answer, ScriptedServer, say, use
from tests.orchestrator.conftest import Bench, running, scripted

A_CALL = 120  # tokens of each answer of the scripted server
LOOK = [use("Glob", pattern="*")]
WRITE = [use("Write", file_path="new.txt", content="hello\n")]
DONE = [say("Done.")]


async def limited(bench: Bench, project: Project, **budgets: Budget) -> Project:
    return await bench.engine.do(c.EditProject(project.id, config=replace(project.config, **budgets)))  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["run_budget", "task_budget", "project_budget"])
async def test_no_request_follows_the_one_that_uses_a_budget_up(data: Path, repository: Path, field: str) -> None:
    with scripted(LOOK, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await limited(bench, await bench.project(repository), **{field: Budget(tokens=2 * A_CALL - 10)})
            task = await bench.settled(await bench.start(await bench.card(project)))
            run = task.runs[-1]
            assert (run.status, run.pause_reason) == (RunStatus.PAUSED, PauseReason.BUDGET)
            assert run.error is not None
            assert run.error.code == ErrorCode.BUDGET_REACHED
            assert len(server.requests) == 2
            assert (await bench.engine.do(c.ListBudgets(task.card.id)))[0].is_reached


async def test_the_budget_of_the_day_holds_for_every_project(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            settings = await bench.engine.do(c.GetSettings())
            await bench.engine.do(c.ChangeSettings(replace(settings, day_budget=Budget(tokens=A_CALL))))
            task = await bench.settled(await bench.start(await bench.card(await bench.project(repository))))
            assert task.runs[-1].pause_reason is PauseReason.BUDGET
            assert len(server.requests) == 1
            standings = await bench.engine.do(c.ListBudgets(task.card.id))
            assert [(one.scope, one.spent.tokens) for one in standings] == [(Scope.DAY, A_CALL)]


async def test_a_run_goes_on_with_what_a_person_gives_it_and_not_without(data: Path, repository: Path) -> None:
    with scripted(LOOK, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await limited(bench, await bench.project(repository), project_budget=Budget(tokens=A_CALL))
            task = await bench.settled(await bench.start(await bench.card(project)))
            with pytest.raises(AgentPaneError) as refused:
                await bench.engine.do(c.ResumeRun(task.card.id, environment=server.environment))
            assert refused.value.code is ErrorCode.BUDGET_REACHED
            assert (await bench.engine.do(c.GetTask(task.card.id))).runs[-1].status is RunStatus.PAUSED
            more = c.ResumeRun(task.card.id, environment=server.environment, budget=Budget(tokens=3 * A_CALL))
            reviewed = await bench.reviewed(await bench.engine.do(more))
            assert reviewed.card.files_changed == 1


async def test_what_a_person_gives_in_one_unit_leaves_the_budgets_in_the_other(data: Path, repository: Path) -> None:
    with scripted(LOOK, LOOK, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await limited(bench, await bench.project(repository), task_budget=Budget(tokens=A_CALL))
            settings = await bench.engine.do(c.GetSettings())
            task = await bench.settled(await bench.start(await bench.card(project)))
            cost = task.runs[-1].cost_usd
            assert cost is not None
            limits = Budget(usd=1.5 * cost, tokens=A_CALL)
            await bench.engine.do(c.ChangeSettings(replace(settings, day_budget=limits)))
            more = c.ResumeRun(task.card.id, environment=server.environment, budget=Budget(tokens=9 * A_CALL))
            await bench.engine.do(more)
            task = await bench.settled(task)
            assert (task.runs[-1].pause_reason, len(server.requests)) == (PauseReason.BUDGET, 2)
            standings = await bench.engine.do(c.ListBudgets(task.card.id))
            assert [(one.scope, one.budget) for one in standings] == [
                (Scope.RUN, Budget(tokens=10 * A_CALL)),
                (Scope.DAY, Budget(usd=1.5 * cost)),
            ]
            with pytest.raises(AgentPaneError, match="for today"):
                await bench.engine.do(more)
            await bench.reviewed(await bench.engine.do(replace(more, budget=Budget(usd=1.0))))


async def test_a_warning_comes_once_at_four_fifths(data: Path, repository: Path) -> None:
    with scripted(LOOK, LOOK, LOOK, LOOK, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            budget = Budget(tokens=5 * A_CALL + 60)
            project = await limited(bench, await bench.project(repository), run_budget=budget)
            task = await bench.settled(await bench.start(await bench.card(project)))
            states = [event.data for event in await bench.session(task) if event.kind is EventKind.STATE]
            warnings = [data["message"] for data in states if data["state"] == "budget_near"]
            assert warnings == ["91% of a budget is used: 600 of 660 tokens for this run."]


async def test_dollars_ask_where_the_price_is_unknown_and_go_on_when_told(data: Path, repository: Path) -> None:
    turns = [Answer(blocks, model="a-model-of-our-own") for blocks in (WRITE, DONE)]
    with ScriptedServer(turns) as server:
        async with running(data, server.environment) as bench:
            project = await limited(bench, await bench.project(repository), run_budget=Budget(usd=5.0))
            config = AgentConfig(model="a-model-of-our-own")
            await bench.engine.do(c.AddAgent(project.id, "Local", BackendName.ANTHROPIC, config=config, default=True))
            task = await bench.settled(await bench.start(await bench.card(project)))
            assert task.runs[-1].pause_reason is PauseReason.BUDGET
            assert task.runs[-1].cost_usd is None
            resumed = await bench.engine.do(c.ResumeRun(task.card.id, environment=server.environment))
            await bench.reviewed(resumed)


async def test_runs_side_by_side_go_beyond_a_shared_budget_by_one_request(data: Path, repository: Path) -> None:
    with ScriptedServer([LOOK] * 100, delay=0.02) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            project = await bench.engine.do(c.EditProject(project.id, max_concurrent_agents=8))
            await limited(bench, project, project_budget=Budget(tokens=20 * A_CALL))
            cards = [await bench.start(await bench.card(project, f"Card {number}")) for number in range(8)]
            settled = [await bench.settled(card) for card in cards]
            assert {task.runs[-1].pause_reason for task in settled} == {PauseReason.BUDGET}
            assert len(server.requests) in {20, 21}


async def test_costs_add_up_by_run_task_agent_project_day_and_model(data: Path, repository: Path) -> None:
    with scripted(WRITE, DONE, WRITE, DONE) as server:
        async with running(data, server.environment) as bench:
            project = await bench.project(repository)
            for title in ("One", "Two"):
                await bench.reviewed(await bench.start(await bench.card(project, title)))
            for group, lines in [(group, 2 if group in {CostGroup.RUN, CostGroup.TASK} else 1) for group in CostGroup]:
                found = await bench.engine.do(c.ListCosts(group, project.name, days=2))
                assert (len(found), sum(line.calls for line in found)) == (lines, 4), group
                assert sum(line.input_tokens + line.output_tokens for line in found) == 4 * A_CALL
                assert sum(line.cost_usd for line in found) > 0
                assert sum(line.unpriced for line in found) == 0


async def test_a_request_that_waits_for_room_can_be_cancelled(data: Path, repository: Path) -> None:
    with ScriptedServer([LOOK] * 10, delay=0.5) as server:
        async with running(data, server.environment) as bench:
            project = await limited(bench, await bench.project(repository), project_budget=Budget(tokens=50 * A_CALL))
            first = await bench.start(await bench.card(project, "First"))
            second = await bench.start(await bench.card(project, "Second"))
            async with asyncio.timeout(10):
                cancelled = await bench.engine.do(c.CancelTask(second.card.id))
                assert cancelled.runs[-1].status is RunStatus.CANCELLED
                await bench.engine.do(c.CancelTask(first.card.id))
