"""The lengths and ranges that input must keep to, and the one error that says which field did not."""

from __future__ import annotations

from collections.abc import Sequence

from agentpane.errors import AgentPaneError, ErrorCode

PROJECT_NAME = 100
PROJECT_DESCRIPTION = 500
TASK_TITLE = 200
TASK_DESCRIPTION = 5_000
TASK_LABELS = 10
LABEL_LENGTH = 50
AGENT_NAME = 100
REASON = 1_000
CONCURRENCY = range(1, 11)


def invalid(field: str, message: str, hint: str = "") -> AgentPaneError:
    """A VALIDATION_ERROR that names the field at fault."""
    return AgentPaneError(
        ErrorCode.VALIDATION_ERROR,
        message,
        hint or "Change it and try again. Nothing has been stored.",
        {"field": field},
    )


def check_text(field: str, text: str, most: int, least: int = 1) -> str:
    """`text` without surrounding white space, if it has between `least` and `most` characters.

    Raises AgentPaneError with VALIDATION_ERROR naming `field`; control characters are refused too.
    """
    trimmed = text.strip()
    if len(trimmed) < least:
        raise invalid(field, f"The {field.replace('_', ' ')} is empty.")
    if len(trimmed) > most:
        raise invalid(field, f"The {field.replace('_', ' ')} has {len(trimmed):,} characters; at most {most:,} fit.")
    if any(ord(character) < 32 and character not in "\n\t\r" for character in trimmed):
        raise invalid(field, f"The {field.replace('_', ' ')} holds control characters.")
    if any(0xD800 <= ord(character) <= 0xDFFF for character in trimmed):
        raise invalid(field, f"The {field.replace('_', ' ')} is not valid text.")
    return trimmed


def check_line(field: str, text: str, most: int) -> str:
    """Like `check_text`, for one line."""
    trimmed = check_text(field, text, most)
    if any(character in "\n\r\t" for character in trimmed):
        raise invalid(field, f"The {field.replace('_', ' ')} must be one line.")
    return trimmed


def beginning(text: str, most: int) -> str:
    """`text` in quotes on one line, with its first `most` characters and how many more there are."""
    line = " ".join(text.split())
    return f"“{line}”" if len(line) <= most else f"“{line[:most]}…” and {len(line) - most:,} characters more"


def check_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels without repeats, in order. Raises AgentPaneError with VALIDATION_ERROR."""
    unique = tuple(dict.fromkeys(check_line("labels", label, LABEL_LENGTH) for label in labels))
    if len(unique) > TASK_LABELS:
        raise invalid("labels", f"A task has at most {TASK_LABELS} labels; {len(unique)} were given.")
    return unique


def check_concurrency(count: int) -> int:
    if count not in CONCURRENCY:
        raise invalid("max_concurrent_agents", "The number of concurrent agents must be from 1 to 10.")
    return count
