"""A tool cannot do what it was asked for."""

from __future__ import annotations

from agentpane.errors import ErrorCode


class Refusal(Exception):
    """In words for the model. Never leaves the tools."""

    def __init__(self, message: str, code: ErrorCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
