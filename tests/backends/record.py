"""Fills the results into the sample's recordings by running its calls with the real tools.

Run it from the repository's root after changing a recording, the sample project or what a tool answers:

    python -m tests.backends.record
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentpane import paths
from agentpane.domain.sandbox import NO_NETWORK
from agentpane.orchestrator.backends.recorded.recording import normal
from agentpane.orchestrator.backends.recorded.sample import sample_cards, sample_files
from agentpane.orchestrator.tools import TOOL_NAMES, ToolContext, toolbox
from agentpane.sandbox import Sandbox, detect, tool_environment


def lay_out(folder: Path) -> Path:
    """The sample project as plain files."""
    for name, content in sample_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def make_context(worktree: Path, sandbox: Sandbox) -> ToolContext:
    return ToolContext(worktree, sandbox, (), tool_environment(worktree), network=NO_NETWORK)


async def record(recording: dict[str, Any], context: ToolContext) -> None:
    tools = toolbox(TOOL_NAMES)
    for turn in recording["turns"]:
        for call in turn.get("calls", ()):
            given: Mapping[str, object] = call["input"]
            result = await tools[call["name"]].run(given, context, None)
            content = normal(result.content, [str(context.worktree)])
            call["result"] = {"content": content, "is_error": result.is_error}


async def main() -> None:
    sandbox = await asyncio.to_thread(detect)
    for card in sample_cards():
        path = paths.shipped("resources") / "demo" / "recordings" / f"{card.key}.json"
        recording = json.loads(path.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory(prefix="recording-") as folder:
            await record(recording, make_context(lay_out(Path(folder)), sandbox))
        path.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
