"""Every error code has its exit status, and the statuses mean what the rules say."""

from __future__ import annotations

import pytest

from agentpane.cli.exits import EXIT_STATUS
from agentpane.errors import ErrorCode


def test_every_code_has_an_exit_status() -> None:
    assert set(EXIT_STATUS) == set(ErrorCode)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ErrorCode.VALIDATION_ERROR, 2),
        (ErrorCode.PROJECT_NOT_FOUND, 3),
        (ErrorCode.TASK_INVALID_TRANSITION, 3),
        (ErrorCode.QUEUE_FULL, 3),
        (ErrorCode.AGENT_TURN_LIMIT, 4),
        (ErrorCode.TASK_NO_DIFF, 4),
        (ErrorCode.BACKEND_AUTH, 4),
        (ErrorCode.MERGE_CONFLICT, 5),
        (ErrorCode.ENGINE_UNREACHABLE, 6),
        (ErrorCode.STORE_FULL, 6),
        (ErrorCode.GIT_MISSING, 6),
        (ErrorCode.INTERNAL, 1),
    ],
)
def test_a_status_says_what_kind_of_failure_it_was(code: ErrorCode, status: int) -> None:
    assert EXIT_STATUS[code] == status
