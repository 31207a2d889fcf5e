"""Holds runs to what may be spent: before every request, and after every usage that a model reports.

Requests that share a budget are counted while they are under way, so that runs side by side go beyond it by one
request at most.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from agentpane.api import commands as c
from agentpane.db import agents, model_calls, projects, runs, settings
from agentpane.domain.budgets import Budget, Most, Scope, Spent, Standing, most_of_request, reached, unknown_cost
from agentpane.domain.costs import CostLine
from agentpane.domain.ids import RunId
from agentpane.domain.limits import invalid
from agentpane.domain.runs import PauseReason
from agentpane.orchestrator.backends.base import RunPaused
from agentpane.orchestrator.backends.messages_api.models import MAX_TOKENS, usd_of_million
from agentpane.orchestrator.core import Core

MOST_DAYS = 3_650
Place = tuple[Scope, str]  # a budget that several runs may share, and whose it is


class Budgets:
    """One for the engine. A run takes its leave with `before_request` and gives it back with `after_usage`."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._under_way: dict[RunId, tuple[frozenset[Place], Most]] = {}
        self._next_end = asyncio.Event()  # set, and another put in its place, when a request ends
        self._warned: set[tuple[RunId, Scope]] = set()

    async def before_request(self, run_id: RunId) -> None:
        """Wait until a request of this run fits beside those under way.

        Raises RunPaused when a budget is used up, or is in dollars while nobody knows what a call has cost.
        """
        self._give_back(run_id)
        while True:
            end = self._next_end
            run = await self._core.db.read(runs.row, run_id)
            standings = await self.standings(run)
            problem = reached(standings)
            if problem is None and not run.unpriced_accepted:
                problem = unknown_cost(standings, run.model)
            if problem is not None:
                raise RunPaused(PauseReason.BUDGET, problem)
            prices = await asyncio.to_thread(usd_of_million, run.model) if standings else (None, None)
            if end.is_set():
                continue  # what was read is from before it
            if all(one.has_room_beside(self._beside(self._place(one, run), run_id)) for one in standings):
                break
            await end.wait()
        most = most_of_request(run.context_used or 0, MAX_TOKENS, prices)
        self._under_way[run_id] = frozenset(self._place(one, run) for one in standings), most

    async def after_usage(self, run_id: RunId) -> tuple[Standing, ...]:
        """The request has ended and its usage is stored. Returns the budgets that this run was not yet warned of."""
        self._give_back(run_id)
        run = await self._core.db.read(runs.row, run_id)
        near = tuple(
            one
            for one in await self.standings(run)
            if (one.is_near or one.is_reached) and (run_id, one.scope) not in self._warned
        )
        self._warned.update((run_id, one.scope) for one in near)
        return near

    def forget(self, run_id: RunId) -> None:
        """The run is not played any longer."""
        self._give_back(run_id)
        self._warned = {warned for warned in self._warned if warned[0] != run_id}

    async def spent(self, run: runs.RunRow) -> Spent:
        """What a run and its sub-agents have used."""
        return await self._core.db.read(model_calls.spent_by_run, run.root_run_id or run.id)

    async def standings(self, run: runs.RunRow, given: Budget | None = None) -> tuple[Standing, ...]:
        """Every budget that holds for this run, and how it stands. given: by hand; None: what has been given."""
        now = self._core.clock.now()

        def read(connection: runs.Connection) -> tuple[Standing, ...]:
            root = runs.row(connection, RunId(run.root_run_id)) if run.root_run_id else run
            by_hand = given or Budget(root.budget_usd, root.budget_tokens)
            config = projects.get(connection, root.project_id).config
            own = agents.get(connection, root.agent_id).config.budget
            of_run = by_hand.over(own if own.is_set else config.run_budget)
            of_task, of_project, of_day = (
                budget.without_units_of(by_hand)
                for budget in (config.task_budget, config.project_budget, settings.get(connection).day_budget)
            )
            found = []
            if of_run.is_set:
                found.append(Standing(Scope.RUN, of_run, model_calls.spent_by_run(connection, root.id)))
            if of_task.is_set:
                found.append(Standing(Scope.TASK, of_task, model_calls.spent_by_task(connection, root.task_id)))
            if of_project.is_set:
                spent = model_calls.spent_by_project(connection, root.project_id)
                found.append(Standing(Scope.PROJECT, of_project, spent))
            if of_day.is_set:
                found.append(Standing(Scope.DAY, of_day, model_calls.spent_since(connection, _midnight(now))))
            return tuple(found)

        return await self._core.db.read(read)

    async def of_task(self, command: c.ListBudgets) -> tuple[Standing, ...]:
        task = await self._core.task(command.task)
        if not task.runs:
            return ()
        return await self.standings(await self._core.db.read(runs.row, task.runs[-1].id))

    async def costs(self, command: c.ListCosts) -> tuple[CostLine, ...]:
        if command.days is not None and not 1 <= command.days <= MOST_DAYS:
            raise invalid("days", f"The number of days must be from 1 to {MOST_DAYS:,}.")
        since = None if command.days is None else _midnight(self._core.clock.now()) - timedelta(days=command.days - 1)

        def read(connection: runs.Connection) -> tuple[CostLine, ...]:
            project = projects.resolve(connection, command.project) if command.project else None
            return model_calls.costs(connection, command.group, project, since)

        return await self._core.db.read(read)

    def _place(self, standing: Standing, run: runs.RunRow) -> Place:
        whose = {
            Scope.RUN: run.root_run_id or run.id,
            Scope.TASK: run.task_id,
            Scope.PROJECT: run.project_id,
            Scope.DAY: "",
        }
        return standing.scope, whose[standing.scope]

    def _beside(self, place: Place, run_id: RunId) -> list[Most]:
        under_way = self._under_way.items()
        return [most for other, (places, most) in under_way if other != run_id and place in places]

    def _give_back(self, run_id: RunId) -> None:
        if self._under_way.pop(run_id, None) is not None:
            self._next_end.set()
            self._next_end = asyncio.Event()


def _midnight(now: datetime) -> datetime:
    """When the person's own day began."""
    return now.astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
