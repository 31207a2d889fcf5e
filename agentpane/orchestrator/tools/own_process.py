"""Work of ours that may take for ever, done in a process of its own that is killed then. It confines itself."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.errors import AgentPaneError
from agentpane.orchestrator.tools.base import Refusal, ToolContext
from agentpane.sandbox import OUTPUT_LIMIT, BareSandbox, Outcome, SandboxCommand

PACKAGES = Path(__file__).resolve().parents[3]


async def run_apart(
    module: str, request: bytes, context: ToolContext, seconds: float, output_limit: int = OUTPUT_LIMIT
) -> Outcome:
    """Run `main` of a module, with the request on its standard input. Raises Refusal when it cannot be started."""
    program = [sys.executable, "-c", f"from {module} import main; main()"]
    command = SandboxCommand(
        script="exec " + shlex.join(program),
        worktree=context.worktree,
        readable=(),
        environment={"PATH": os.defpath, "PYTHONPATH": str(PACKAGES), "PYTHONSAFEPATH": "1", "PYTHONUTF8": "1"},
        timeout_s=seconds,
        network=NO_NETWORK,
        output_limit=output_limit,
        stdin=request,
        cwd=Path("/"),
    )
    try:
        return await BareSandbox().run(command)
    except AgentPaneError as error:
        raise Refusal(error.message, error.code) from error
