"""The engine keeps its house in order by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from typing_extensions import override

from agentpane.api import commands as c
from agentpane.api.events import CatchUp, Published, RecoveriesExpiring, WindowRaised
from agentpane.clock import SystemClock
from agentpane.db import audit, projects, recoveries, turns
from agentpane.db.connection import Database
from agentpane.domain.audit import KEEP_DAYS, AuditRecord, ToolStatus
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.housekeeping import Housekeeping
from agentpane.orchestrator.recovery_bin import RecoveryBin
from agentpane.orchestrator.turn_snapshots import TurnSnapshots
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees, turn_ref
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

        for days, expected in ((26.9, []), (27.1, [RecoveriesExpiring((kept,))])):
            core = kept_at(days)
            news = core.bus.read(0)
            assert await RecoveryBin(core).expire() == ()
            assert await TurnSnapshots(core).tidy() == 0
            core.bus.publish(WindowRaised())
            heard = [item.event async for item in _until_raised(news)]
            assert heard == expected
        over = kept_at(30.1)
        (row,) = await database.read(turns.everything)
        stray, foreign = turn_ref(row.run_id, 7), turn_ref("another", 1)
        for ref in (stray, foreign, "refs/agentpane/turn/odd"):
            git(repository, "update-ref", ref, "HEAD")
        project = await database.read(projects.get, task.card.project_id)
        await Housekeeping(over, RecoveryBin(over), TurnSnapshots(over)).tidy(project)
        listed = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/turn").split()
        assert set(listed) == {foreign, "refs/agentpane/turn/odd", turn_ref(row.run_id, row.turn)}
        for ref in (foreign, "refs/agentpane/turn/odd"):
            git(repository, "update-ref", "-d", ref)
        away = repository.rename(repository.with_name("away"))
        assert await RecoveryBin(over).expire() == ()  # it waits for its repository
        away.rename(repository)
        assert git(repository, "for-each-ref", "--format=%(refname)").count("refs/agentpane/") == 3
        assert await RecoveryBin(over).expire() == (kept.id,)
        assert await TurnSnapshots(over).tidy() == 1
        left = git(repository, "for-each-ref", "--format=%(refname)", "refs/agentpane/recovery", "refs/agentpane/turn")
        assert (left, await database.read(recoveries.everything), await database.read(turns.everything)) == ("", (), ())
        (entry,) = [each.record for each in await database.read(audit.read, kept.project_id, 0, 100)][-1:]
        assert (entry.tool, entry.actor, entry.input["ref"]) == ("recovery.expire", "engine", kept.ref)
        assert (await database.read(audit.verify)).ok
    finally:
        await git_.close()
        await database.close()


async def _until_raised(news: AsyncIterator[Published | CatchUp]) -> AsyncIterator[Published]:
    async for item in news:
        if not isinstance(item, Published) or isinstance(item.event, WindowRaised):
            return
        yield item
