"""Every table of the database, as declarative models. Alembic's head revision and these show no difference."""

from agentpane.db.schema.audit import AuditHeadRow, AuditRow, SettingRow
from agentpane.db.schema.base import Base
from agentpane.db.schema.board import AgentRow, ProjectRow, TaskRow
from agentpane.db.schema.changes import MergeRow, RecoveryRow, ReviewCommentRow, ReviewRow, WorktreeRecord
from agentpane.db.schema.github import InstallationRow, RepositoryConfigRow
from agentpane.db.schema.running import ApprovalRow, EventRow, ModelCallRow, RunRow, SessionRow

__all__ = [
    "AgentRow",
    "ApprovalRow",
    "AuditHeadRow",
    "AuditRow",
    "Base",
    "EventRow",
    "InstallationRow",
    "MergeRow",
    "ModelCallRow",
    "ProjectRow",
    "RecoveryRow",
    "RepositoryConfigRow",
    "ReviewCommentRow",
    "ReviewRow",
    "RunRow",
    "SessionRow",
    "SettingRow",
    "TaskRow",
    "WorktreeRecord",
]
