"""The engine keeps its house in order by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from typing_extensions import override

from agentpane.api import commands as c
from agentpane.api.events import CatchUp, Published, RecoveriesExpiring, WindowRaised
from agentpane.clock import SystemClock
from agentpane.db import audit, projects, recoveries, run_refs, tasks, turns
from agentpane.db.connection import Database
from agentpane.domain.audit import KEEP_DAYS, AuditRecord, ToolStatus
from agentpane.domain.recoveries import NOTICE, RecoveryId, RecoverySnapshot
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.housekeeping import Housekeeping
from agentpane.orchestrator.keeping.recovery_bin import RecoveryBin
from agentpane.orchestrator.keeping.run_refs import RunRefs
from agentpane.orchestrator.keeping.turn_snapshots import TurnSnapshots
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees, reviewed_ref, turn_ref
from tests.backends.wire import say, use
from tests.orchestrator.conftest import git, running, scripted


async def test_audit_entries_past_their_time_go_and_the_rest_still_verifies(data: Path, repository: Path) -> None:
    async with running(data, {}) as bench:
        project = await bench.project(repository)
        assert (await bench.engine.do(c.VerifyAudit())).ok
    now = SystemClock().now()
    old = AuditRecord(
        "busy", None, None, None, "Read", ToolStatus.COMPLETE, {}, None, None, 1, 1, now - timedelta(KEEP_DAYS + 1), "a"
    )
    database = await Database.open(DataFolder(data))
    git = Worktrees()
    try:
        await database.write(audit.append, [old] * 3 + [replace(old, at=now)] * 2)
        core = Core(DataFolder(data), database, EventBus(), git, SystemClock(), "model")
        await Housekeeping(core, RecoveryBin(core), TurnSnapshots(core)).tidy(replace(project, id="busy"))
        left = await database.read(audit.read, "busy", 0, 100)
        assert [entry.record.at == now for entry in left[:2]] == [True, True]
        assert all(entry.record.at > old.at for entry in left)
        assert (await database.read(audit.verify)).ok
    finally:
        await git.close()
        await database.close()


@dataclass(frozen=True)
class Later(SystemClock):
    """The machine's clock, days ahead."""

    days: float

    @override
    def now(self) -> datetime:
        return super().now() + timedelta(self.days)


async def test_what_is_kept_is_spoken_of_before_its_time_and_goes_with_its_refs_after_it(
    data: Path, repository: Path
) -> None:
    with scripted([use("Write", file_path="new.txt", content="x")], [say("Done.")]) as server:
        async with running(data, server.environment) as bench:
            task = await bench.reviewed(await bench.start(await bench.card(await bench.project(repository))))
            assert task.worktree is not None
            (Path(task.worktree) / "mine").write_text("not committed")
            await bench.engine.do(c.CancelTask(task.card.id, confirmed=True))
            (kept,) = await bench.engine.do(c.ListRecoveries())
    database, git_ = await Database.open(DataFolder(data)), Worktrees()
    try:

        def kept_at(days: float) -> Core:
            return Core(DataFolder(data), database, EventBus(), git_, Later(days), "model")

        async def announced(core: Core, windows: int) -> list[tuple[str, bool]]:
            keeper, news = RecoveryBin(core), core.bus.read(0)
            keeper.windows = lambda: windows
            assert await keeper.expire() == ()
            core.bus.publish(WindowRaised())
            heard = [item.event async for item in _until_raised(news)]
            spoken = [event for event in heard if isinstance(event, RecoveriesExpiring)]
            assert len(spoken) == len(heard)
            ends = core.clock.now() + NOTICE - timedelta(minutes=1)
            return [(one.id, one.expires_at > ends) for event in spoken for one in event.recoveries]

        assert await announced(kept_at(26.9), 1) == []
        assert await announced(kept_at(27.1), 0) == [(kept.id, False)]
        for days in (30.1, 40):  # nobody heard of it: it gets as long again as the notice is given before
            assert await announced(kept_at(days), 0) == [(kept.id, True)]
        assert await _told_as_it_comes(kept_at(41)) == [kept.id]
        assert await announced(kept_at(43), 0) == [(kept.id, False)]
        shown = await _listed_and_gone_after(kept_at(41), replace(kept, id=RecoveryId("shown")))
        assert shown == [(True, False), (True, True)]
        assert await TurnSnapshots(kept_at(29)).tidy() == 0
        over = kept_at(44.1)
        (row,) = await database.read(turns.everything)
        stray, foreign = turn_ref(row.run_id, 7), turn_ref("another", 1)
        for ref in (stray, foreign, "refs/agentpane/turn/odd"):
            git(repository, "update-ref", ref, "HEAD")
        await database.write(turns.remove, (row,))  # as in a database that was restored from before
        project = await database.read(projects.get, task.card.project_id)
        await Housekeeping(over, RecoveryBin(over), TurnSnapshots(over)).tidy(project)
        listed = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/turn").split()
        assert set(listed) == {stray, foreign, "refs/agentpane/turn/odd", turn_ref(row.run_id, row.turn)}
        adopted = {each.turn: each for each in await database.read(turns.everything)}
        assert adopted[row.turn] == replace(row, created_at=row.created_at.replace(microsecond=0))
        assert (set(adopted), adopted[7].tree) == ({row.turn, 7}, git(repository, "rev-parse", "HEAD^{tree}"))
        for ref in (foreign, "refs/agentpane/turn/odd"):
            git(repository, "update-ref", "-d", ref)
        away = repository.rename(repository.with_name("away"))
        assert await RecoveryBin(over).expire() == ()  # it waits for its repository
        away.rename(repository)
        await _let_go_of_what_runs_pinned(kept_at, repository, str(row.run_id))
        assert git(repository, "for-each-ref", "--format=%(refname)").count("refs/agentpane/") == 3
        assert await RecoveryBin(over).expire() == (kept.id,)
        lock = repository / ".git" / f"{stray}.lock"
        lock.touch()
        await TurnSnapshots(over).tidy()
        assert [each.turn for each in await database.read(turns.everything)] == [7]  # its ref could not be deleted
        lock.unlink()
        assert await TurnSnapshots(over).tidy() == 1
        left = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/recovery", "refs/agentpane/turn")
        assert (left, await database.read(recoveries.everything), await database.read(turns.everything)) == ("", (), ())
        (entry,) = [each.record for each in await database.read(audit.read, kept.project_id, 0, 100)][-1:]
        assert (entry.tool, entry.actor, entry.input["ref"]) == ("recovery.expire", "engine", kept.ref)
        assert (await database.read(audit.verify)).ok
    finally:
        await git_.close()
        await database.close()


async def _let_go_of_what_runs_pinned(at: Callable[[float], Core], repository: Path, run: str) -> None:
    """The card was cancelled; then as if it were verified, archived and deleted."""
    beside, others = f"refs/agentpane/run/{run}/commits/x", reviewed_ref("another")
    pinned = reviewed_ref(run)
    database, task = at(0).db, await at(0).db.read(lambda db: run_refs.cards_of(db, {run})[run])

    async def after(days: float, **fields: object) -> set[str]:
        git(repository, "update-ref", pinned, "HEAD")
        git(repository, "update-ref", beside, "HEAD~0")
        if fields:
            values = ", ".join(f'"{name}" = {value}' for name, value in fields.items())
            await database.write(lambda db: db.exec_driver_sql(f"UPDATE tasks SET {values} WHERE id = '{task}'"))
        await RunRefs(at(days)).tidy()
        listed = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/run").split()
        return {*listed}

    git(repository, "update-ref", others, "HEAD")
    both = {pinned, beside, others}
    assert await after(29) == both
    assert await after(31) == {others}
    head = git(repository, "rev-parse", "HEAD")
    assert await after(99, column="'waiting_approval'", snapshot=f"'{head}'") == both
    assert await after(31, column="'verified'") == both  # both name what was merged
    assert await after(31, snapshot="'elsewhere'") == {others}
    assert await after(99, snapshot=f"'{head}'", archived_at="updated_at") == {others}
    await database.write(tasks.delete, task, at(0).clock.now())
    assert await after(0) == {others}
    git(repository, "update-ref", "-d", others)


async def _told_as_it_comes(core: Core) -> list[str]:
    """What the first window to come is told of; the second is told nothing."""
    keeper, news = RecoveryBin(core), core.bus.read(0)
    keeper.greet()  # no window
    keeper.windows = lambda: 1
    job = asyncio.create_task(keeper.serve())
    try:
        async with asyncio.timeout(10):
            keeper.greet()
            first = await anext(news)
            keeper.greet()
    finally:
        job.cancel()
        await asyncio.wait([job])
    assert isinstance(first, Published) and isinstance(first.event, RecoveriesExpiring) and core.bus.last == 1
    return [one.id for one in first.event.recoveries]


async def _listed_and_gone_after(core: Core, shown: RecoverySnapshot) -> list[tuple[bool, bool]]:
    """Whether it is listed and whether it would go: unlisted and then listed, as long after that as the notice."""
    now, found = core.clock.now(), []
    await core.db.write(recoveries.add, shown)
    await RecoveryBin(core).listed(c.ListRecoveries())  # for a look at something else: that tells nobody
    for _ in range(2):
        gone = shown.id in {one.id for one in await core.db.read(recoveries.expired, now + 1.1 * NOTICE)}
        listed = shown.id in {one.id for one in await RecoveryBin(core).listed(c.ListRecoveries(shown=True))}
        found.append((listed, gone))
    await core.db.write(recoveries.remove, shown.id)
    return found


async def _until_raised(news: AsyncIterator[Published | CatchUp]) -> AsyncIterator[Published]:
    async for item in news:
        if not isinstance(item, Published) or isinstance(item.event, WindowRaised):
            return
        yield item
