"""The sample project, as the engine made it."""

from __future__ import annotations

from dataclasses import dataclass

from agentpane.domain.ids import ProjectId, TaskId


@dataclass(frozen=True, slots=True)
class DemoReady:
    """The sample project and the card that the demo plays."""

    project_id: ProjectId
    task_id: TaskId
    path: str
