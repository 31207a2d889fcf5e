"""ripgrep as the quick way to find and search files: inside the sandbox, with nothing of anybody's configuration.

It is told to obey exactly what `walking` obeys. Where it is missing or cannot be run, the callers do without.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.tools.base import Refusal, ToolContext
from agentpane.orchestrator.tree.walking import Parts, Scope
from agentpane.sandbox import Outcome, SandboxCommand

TIMEOUT_S = 60.0
OUTPUT_LIMIT = 32 * 1024 * 1024  # bytes
NO_MATCH, FAILED, MISSING = 1, 2, (126, 127)

SAME_RULES = (
    "--no-config",
    "--hidden",
    "--no-follow",
    "--no-ignore-dot",
    "--no-ignore-exclude",
    "--no-ignore-global",
    "--no-ignore-parent",
    "--no-require-git",
    "--no-messages",
    "--glob=!.git",
)


async def ripgrep(context: ToolContext, searched: Scope, arguments: Sequence[str]) -> Outcome | None:
    """Run it over the scope; None where it is not there. Raises Refusal when it takes too long."""
    program = _program(context)
    if program is None:
        return None
    base = context.worktree.joinpath(*searched.base)
    target = "./" + "/".join(searched.within) if searched.is_file else "./"
    pruned = _pruning(searched)
    command = [program, *SAME_RULES, *(["--ignore-file=/dev/stdin"] if pruned else []), *arguments, "--", target]
    try:
        outcome = await context.sandbox.run(
            SandboxCommand(
                script="exec " + shlex.join(command),
                worktree=context.worktree,
                readable=(),
                environment=context.environment,
                timeout_s=TIMEOUT_S,
                network=NO_NETWORK,
                output_limit=OUTPUT_LIMIT,
                stdin=pruned,
                cwd=base,
            )
        )
    except AgentPaneError:
        return None
    if outcome.timed_out:
        raise too_slow()
    return None if outcome.exit_code in MISSING else outcome


def too_slow() -> Refusal:
    return Refusal(
        f"The search took longer than {TIMEOUT_S:g} s and was ended. Search a part of the worktree with `path`."
    )


def _program(context: ToolContext) -> str | None:
    found = shutil.which("rg", path=context.environment.get("PATH", os.defpath))
    if found is None or Path(found).is_relative_to(context.worktree):
        return None
    return found


def _pruning(searched: Scope) -> bytes:
    """Ignore rules that keep ripgrep out of what is not asked for. They spare work; callers still look at each path."""
    below = searched.within[len(searched.base) :]
    if searched.is_file or any("\n" in part for part in below):
        return b""
    lines = []
    prefix = b""
    for part in below:
        lines += [prefix + b"/*", b"!" + prefix + b"/" + _escaped(part)]
        prefix += b"/" + _escaped(part)
    return b"".join(line + b"\n" for line in lines)


def _escaped(part: str) -> bytes:
    return b"".join(b"\\" + bytes([byte]) if byte in b"\\*?[]{}!# " else bytes([byte]) for byte in os.fsencode(part))


def as_parts(searched: Scope, path: bytes) -> Parts | None:
    """A path that ripgrep printed, below the worktree; None when it lies outside the scope."""
    parts = (*searched.base, *os.fsdecode(path.removeprefix(b"./")).split("/"))
    return parts if parts[: len(searched.within)] == searched.within else None
