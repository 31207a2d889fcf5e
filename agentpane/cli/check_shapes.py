"""What `--json` prints of checks; the other shapes are in `shapes`."""

from __future__ import annotations

from typing import Any

from agentpane.domain.checks import Check, CheckResult


def check(value: Check, origin: str, holds: bool) -> dict[str, Any]:
    """origin: `project` or `repository`, which asks for it. holds: a merge has to pass it."""
    return {
        "origin": origin,
        "holds": holds,
        "name": value.name,
        "command": value.command,
        "required": value.required,
        "timeout_s": value.timeout_s,
    }


def result(value: CheckResult) -> dict[str, Any]:
    """`output` is the end of what a check wrote that did not pass; the whole of it is in the session."""
    return {
        "name": value.name,
        "required": value.required,
        "state": value.state.value,
        "exit_code": value.exit_code,
        "seconds": value.seconds,
        "tree": value.tree,
        "at": None if value.at is None else value.at.isoformat(),
        "output": value.output,
    }
