"""What a call of git may end with, in words for the person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentpane.errors import AgentPaneError, ErrorCode


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
        self.stderr = stderr.decode("utf-8", "replace").strip()
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
