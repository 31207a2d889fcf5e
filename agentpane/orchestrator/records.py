"""What was said and done, read back: sessions, their long outputs, and the audit log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agentpane.api import commands as c
from agentpane.db import audit, projects, sessions
from agentpane.domain.audit import AuditEntry, AuditVerdict
from agentpane.domain.limits import invalid
from agentpane.domain.review import PatchChunk
from agentpane.domain.sessions import SessionEvent
from agentpane.errors import AgentPaneError, ErrorCode
from agentpane.orchestrator.blobs import BlobStore
from agentpane.orchestrator.core import Core
from agentpane.orchestrator.patches import CHUNK


@dataclass(frozen=True, slots=True)
class Records:
    core: Core
    blobs: BlobStore

    async def session(self, command: c.ReadSession) -> tuple[SessionEvent, ...]:
        task = await self.core.task(command.task)
        if not 1 <= command.limit <= 5_000:
            raise invalid("limit", "Between 1 and 5,000 events can be read at once.")
        if task.session_id is None:
            raise AgentPaneError(
                ErrorCode.SESSION_NOT_FOUND, "This card has no session yet.", hint="It gets one with its first run."
            )
        return await self.core.db.read(sessions.read, task.session_id, command.after, command.limit)

    async def output(self, command: c.ReadOutput) -> PatchChunk:
        await self.core.task(command.task)
        data = await asyncio.to_thread(self.blobs.read, command.blob, command.offset, CHUNK)
        return PatchChunk(data, command.offset + len(data) if len(data) == CHUNK else None)

    async def audit_of(self, command: c.ListAudit) -> tuple[AuditEntry, ...]:
        # The audit outlives its project, so a whole project id is enough to read it.
        def read(connection: projects.Connection) -> tuple[AuditEntry, ...]:
            try:
                project_id = projects.resolve(connection, command.project)
            except AgentPaneError:
                entries = audit.read(connection, command.project, command.after, command.limit)
                if not entries and command.after == 0:
                    raise
                return entries
            return audit.read(connection, project_id, command.after, command.limit)

        return await self.core.db.read(read)

    async def verify(self, command: c.VerifyAudit) -> AuditVerdict:
        return await self.core.db.read(audit.verify)
