"""The engine keeps its house in order by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from agentpane.api import commands as c
from agentpane.clock import SystemClock
from agentpane.db import audit
from agentpane.db.connection import Database
from agentpane.domain.audit import KEEP_DAYS, AuditRecord, ToolStatus
from agentpane.orchestrator.bus import EventBus
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.housekeeping import Housekeeping
from agentpane.orchestrator.recovery_bin import RecoveryBin
from agentpane.orchestrator.turn_snapshots import TurnSnapshots
from agentpane.paths import DataFolder
from agentpane.worktrees import Worktrees
from tests.orchestrator.conftest import running


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
