"""The audit log's chain: each entry carries the hash of the one before it in its project."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from agentpane.domain.json import JsonObject

GENESIS = "0" * 64
KEEP_DAYS = 90  # entries of a project are kept for this long,
KEEP_ENTRIES = 10_000  # and at most so many; the oldest go first


class ToolStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    COMPLETE = "complete"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What is to be entered. References are plain ids; agent, run and task are empty where none has a part."""

    project_id: str
    agent_id: str | None
    agent_run_id: str | None
    task_id: str | None
    tool: str  # the tool, or the act: "approve", "worktree.create", "setting"
    status: ToolStatus
    input: JsonObject
    output: JsonObject | None
    error: str | None
    duration_ms: int | None
    turn: int
    at: datetime
    actor: str  # "person", "agent", "engine", or the rule that decided


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One immutable entry. `number` starts at 1 in each project and has no gaps."""

    id: str
    number: int
    record: AuditRecord
    previous_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditFault:
    project_id: str
    number: int
    what: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    ok: bool
    entries: int
    first_bad: AuditFault | None


def entry_hash(number: int, entry_id: str, record: AuditRecord, previous_hash: str) -> str:
    """The SHA-256, in hexadecimal, of everything that the entry says, as canonical JSON."""
    content = [
        number,
        entry_id,
        record.project_id,
        record.agent_id,
        record.agent_run_id,
        record.task_id,
        record.tool,
        record.status.value,
        record.input,
        record.output,
        record.error,
        record.duration_ms,
        record.turn,
        record.at.isoformat(),
        record.actor,
        previous_hash,
    ]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
