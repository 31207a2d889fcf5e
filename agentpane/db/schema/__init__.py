"""Every table of the database, as declarative models. Alembic's head revision and these show no difference."""

from agentpane.db.schema.audit import AuditHeadTable, AuditTable, SettingTable
from agentpane.db.schema.base import Base
from agentpane.db.schema.board import SHOWS_OVERLAPS, AgentTable, ProjectTable, TaskTable
from agentpane.db.schema.changes import (
    CheckTable,
    MergeTable,
    RecoveryTable,
    ReviewCommentTable,
    ReviewTable,
    TurnTable,
    WorktreeTable,
)
from agentpane.db.schema.github import InstallationTable, RepositoryConfigTable
from agentpane.db.schema.running import ApprovalTable, EventTable, ModelCallTable, RunTable, SessionTable

__all__ = [
    "SHOWS_OVERLAPS",
    "AgentTable",
    "ApprovalTable",
    "AuditHeadTable",
    "AuditTable",
    "Base",
    "CheckTable",
    "EventTable",
    "InstallationTable",
    "MergeTable",
    "ModelCallTable",
    "ProjectTable",
    "RecoveryTable",
    "RepositoryConfigTable",
    "ReviewCommentTable",
    "ReviewTable",
    "RunTable",
    "SessionTable",
    "SettingTable",
    "TaskTable",
    "TurnTable",
    "WorktreeTable",
]
