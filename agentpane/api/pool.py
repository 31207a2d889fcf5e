"""What a client can ask of the engine about the worktrees that it keeps ready.

How many a project wants is part of its configuration: `EditProject` sets it.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.api.command import Command
from agentpane.domain.pool import PoolStatus


@dataclass(frozen=True, slots=True)
class GetPool(Command[PoolStatus]):
    """How many worktrees a project has ready for its next cards, and what they take on the disk."""

    project: str
