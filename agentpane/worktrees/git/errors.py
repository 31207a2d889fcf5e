"""What a call of git may end with, in words for the person."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode


@dataclass(frozen=True, slots=True)
class Cause:
    """What of the surroundings makes git fail, and what the person can do about it."""

    code: ErrorCode
    what: str
    hint: str


_CAUSES: tuple[tuple[re.Pattern[bytes], Cause], ...] = (
    (
        re.compile(rb"No space left on device|Out of diskspace|Disk quota exceeded|File too large"),
        Cause(ErrorCode.STORE_FULL, "The disk is full.", "Make room on the disk, then try again."),
    ),
    (
        re.compile(rb"lazy fetching disabled|promisor remote"),
        Cause(
            ErrorCode.PROJECT_NOT_A_GIT_REPO,
            "This is a partial clone, and git has not fetched everything that is needed here.",
            "AgentPane never lets git fetch. Check the branch out once, or run `git fetch --refetch --no-filter`, "
            "then try again.",
        ),
    ),
    (
        re.compile(rb"unknown repository extension|Expected git repo version|unknown object format"),
        Cause(
            ErrorCode.GIT_TOO_OLD,
            "This git does not know the way in which the repository is kept.",
            "Update git, or clone the repository without that extension.",
        ),
    ),
    (
        re.compile(rb"open\(.*\): Permission denied"),
        Cause(
            ErrorCode.VALIDATION_ERROR,
            "A file there cannot be read.",
            "Make it readable for you, or remove it, and continue. Nothing was lost.",
        ),
    ),
    (
        re.compile(rb"Read-only file system|Permission denied|insufficient permission"),
        Cause(
            ErrorCode.RESOURCE_LOCKED,
            "The repository, or a folder that git has to write, may not be written.",
            "Make it writable for you, then try again.",
        ),
    ),
    (
        re.compile(rb"\.lock': File exists|cannot lock ref"),
        Cause(
            ErrorCode.RESOURCE_LOCKED,
            "Another git is at work in the repository, or was cut short there and has left its lock.",
            "Wait for it to end; if none runs, remove the lock file that git names. Then try again.",
        ),
    ),
    (
        re.compile(rb"unable to write |couldn't write |write error"),
        Cause(ErrorCode.STORE_FULL, "The disk is full, or fails.", "Make room on the disk, then try again."),
    ),
    (
        re.compile(
            rb"unable to normalize alternate|missing object|(?:unable to|cannot) read|is corrupt|bad object|bad tree"
        ),
        Cause(
            ErrorCode.INTERNAL,
            "Git cannot read something that the repository should hold.",
            "Run `git fsck`. If the repository borrows from another one, put that back. Then try again.",
        ),
    ),
)


def cause_of(stderr: bytes) -> Cause | None:
    """What of the surroundings git complains of; None where it is something else."""
    return next((cause for pattern, cause in _CAUSES if pattern.search(stderr)), None)


def spoken(stderr: bytes) -> str:
    """What git says of a failure, without its advice to somebody at a terminal."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    return "\n".join(line for line in lines if not line.startswith("hint:")).strip()


class GitError(AgentPaneError):
    """Git ran and refused, took too long, or could not be started."""

    def __init__(
        self,
        message: str,
        command: Sequence[str],
        exit_code: int | None,
        stderr: bytes = b"",
        code: ErrorCode = ErrorCode.INTERNAL,
        hint: str = "Check the repository with `git fsck`, then try again.",
    ) -> None:
        self.stderr = spoken(stderr)
        self.cause = cause_of(stderr)
        if self.cause is not None and code is ErrorCode.INTERNAL:
            code, message, hint = self.cause.code, f"{self.cause.what} {message}", self.cause.hint
        details = {"command": list(command), "exit_code": exit_code, "stderr": self.stderr[-4000:]}
        super().__init__(code, message, hint, details)
        self.command = tuple(command)
        self.exit_code = exit_code  # None: it never ended by itself


class EndlessError(GitError):
    """A file that git reads is a pipe or a device, for which it waits without end."""

    def __init__(self, path: Path) -> None:
        message = f"{path} is a pipe or a device, for which git would wait without end. Nothing has been changed."
        hint = "Remove it, or put back the file that belongs there. Then try again."
        super().__init__(message, (), None, code=ErrorCode.VALIDATION_ERROR, hint=hint)
        self.details["path"] = str(path)
