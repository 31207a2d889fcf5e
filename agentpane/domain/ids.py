"""The kinds of identifier, kept apart by type. Each is a cuid2 string."""

from __future__ import annotations

from typing import NewType

ProjectId = NewType("ProjectId", str)
TaskId = NewType("TaskId", str)
AgentId = NewType("AgentId", str)
RunId = NewType("RunId", str)
SessionId = NewType("SessionId", str)
WorktreeId = NewType("WorktreeId", str)
ApprovalId = NewType("ApprovalId", str)
