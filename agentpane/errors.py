"""The one root of the errors that a person may read, and the catalogue of their codes.

A code crosses the door as it is; the headless commands turn it into an exit status.
Anything that is not an AgentPaneError is a bug of ours and is reported as INTERNAL.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ErrorCode(StrEnum):
    """What went wrong, in one word that scripts may rely on."""

    PROJECT_NOT_FOUND = "PROJECT_NOT_FOUND"
    PROJECT_PATH_EXISTS = "PROJECT_PATH_EXISTS"
    PROJECT_PATH_INVALID = "PROJECT_PATH_INVALID"
    PROJECT_NOT_A_GIT_REPO = "PROJECT_NOT_A_GIT_REPO"
    PROJECT_EMPTY_REPO = "PROJECT_EMPTY_REPO"
    PROJECT_HAS_RUNNING_AGENTS = "PROJECT_HAS_RUNNING_AGENTS"
    PROJECT_CONFIG_INVALID = "PROJECT_CONFIG_INVALID"
    PROJECT_NOT_TRUSTED = "PROJECT_NOT_TRUSTED"

    TASK_NOT_FOUND = "TASK_NOT_FOUND"
    TASK_NOT_IN_COLUMN = "TASK_NOT_IN_COLUMN"
    TASK_NO_DIFF = "TASK_NO_DIFF"
    TASK_ALREADY_APPROVED = "TASK_ALREADY_APPROVED"
    TASK_NOT_WAITING_APPROVAL = "TASK_NOT_WAITING_APPROVAL"
    TASK_INVALID_TRANSITION = "TASK_INVALID_TRANSITION"

    AGENT_NOT_FOUND = "AGENT_NOT_FOUND"
    AGENT_ALREADY_RUNNING = "AGENT_ALREADY_RUNNING"
    AGENT_NOT_RUNNING = "AGENT_NOT_RUNNING"
    AGENT_TURN_LIMIT = "AGENT_TURN_LIMIT"
    AGENT_TOOL_NOT_ALLOWED = "AGENT_TOOL_NOT_ALLOWED"
    AGENT_BACKEND_MISSING = "AGENT_BACKEND_MISSING"
    AGENT_EXECUTION_ERROR = "AGENT_EXECUTION_ERROR"

    QUEUE_FULL = "QUEUE_FULL"
    RESOURCE_LOCKED = "RESOURCE_LOCKED"

    WORKTREE_CREATION_FAILED = "WORKTREE_CREATION_FAILED"
    WORKTREE_NOT_FOUND = "WORKTREE_NOT_FOUND"
    WORKTREE_REMOVAL_FAILED = "WORKTREE_REMOVAL_FAILED"
    WORKTREE_ENV_COPY_FAILED = "WORKTREE_ENV_COPY_FAILED"
    WORKTREE_INIT_SCRIPT_FAILED = "WORKTREE_INIT_SCRIPT_FAILED"
    WORKTREE_NESTED_REPO = "WORKTREE_NESTED_REPO"

    MERGE_CONFLICT = "MERGE_CONFLICT"
    MERGE_BASE_MOVED = "MERGE_BASE_MOVED"
    MERGE_CHECKOUT_DIRTY = "MERGE_CHECKOUT_DIRTY"
    MERGE_REVIEW_STALE = "MERGE_REVIEW_STALE"

    SESSION_NOT_FOUND = "SESSION_NOT_FOUND"
    SESSION_CLOSED = "SESSION_CLOSED"

    BACKEND_AUTH = "BACKEND_AUTH"
    BACKEND_RATE_LIMITED = "BACKEND_RATE_LIMITED"
    BACKEND_UNAVAILABLE = "BACKEND_UNAVAILABLE"
    BACKEND_PROTOCOL = "BACKEND_PROTOCOL"
    BACKEND_REFUSED = "BACKEND_REFUSED"
    BACKEND_CONTEXT_FULL = "BACKEND_CONTEXT_FULL"
    BUDGET_REACHED = "BUDGET_REACHED"

    SECURITY_PATH_OUTSIDE_WORKTREE = "SECURITY_PATH_OUTSIDE_WORKTREE"
    SECURITY_SANDBOX_UNAVAILABLE = "SECURITY_SANDBOX_UNAVAILABLE"

    STORE_TOO_NEW = "STORE_TOO_NEW"
    STORE_LOCKED = "STORE_LOCKED"
    STORE_CORRUPT = "STORE_CORRUPT"
    STORE_FULL = "STORE_FULL"

    ENGINE_UNREACHABLE = "ENGINE_UNREACHABLE"
    ENGINE_VERSION = "ENGINE_VERSION"

    GIT_MISSING = "GIT_MISSING"
    GIT_TOO_OLD = "GIT_TOO_OLD"
    GIT_FILTER_REQUIRED = "GIT_FILTER_REQUIRED"

    VALIDATION_ERROR = "VALIDATION_ERROR"
    INTERNAL = "INTERNAL"


class AgentPaneError(Exception):
    """A failure worded for the person.

    message: what happened, and that nothing was lost where that is so.
    hint: what to do next; may be empty.
    details: plain JSON values that a program may read, such as the paths of a conflict.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        hint: str = "",
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details: dict[str, object] = dict(details or {})
