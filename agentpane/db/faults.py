"""What SQLite says when it cannot go on, put in words for the person."""

from __future__ import annotations

import sqlite3

from agentpane.errors import AgentPaneError, ErrorCode

RESTORE_HINT = "Run `agentpane db check`; a backup can be put back with `agentpane db restore`."

_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNREACHABLE = frozenset({sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


def store_error(error: sqlite3.Error) -> AgentPaneError | None:
    """The error to raise in place of `error`, or None if it is a bug of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary in _LOCKED:
        return locked("Another program is writing to the database.")
    if primary in _UNREACHABLE:
        return locked("The database cannot be opened for writing.", "Check who may write to the data folder.")
    if primary in _CORRUPT:
        return corrupt("The database is damaged.")
    if primary in _FULL:
        return AgentPaneError(
            ErrorCode.STORE_FULL,
            "The disk did not take what was to be stored.",
            hint="Make room on it and try again. What was stored before is whole.",
        )
    return None


def corrupt(message: str) -> AgentPaneError:
    return AgentPaneError(ErrorCode.STORE_CORRUPT, message, hint=RESTORE_HINT)


def locked(message: str, hint: str = "Close it and try again. Nothing has been changed.") -> AgentPaneError:
    return AgentPaneError(ErrorCode.STORE_LOCKED, message, hint=hint)
