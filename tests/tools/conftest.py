"""A worktree and the tools in it, in both ways of opening files and both tiers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from agentpane.domain.sandbox import NO_NETWORK
from agentpane.orchestrator.tools import TOOL_NAMES, ToolContext, ToolResult, toolbox
from agentpane.orchestrator.tree import openat
from agentpane.sandbox import BareSandbox, BubblewrapSandbox, find_bubblewrap, tool_environment

Call = Callable[..., Awaitable[ToolResult]]


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    folder = tmp_path / "worktree"
    folder.mkdir()
    (folder / ".git").write_text("gitdir: /nowhere\n")
    return folder


@pytest.fixture(params=["openat2", "walk"])
def opening(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The kernel's way of staying inside, and the one for systems without it."""
    if request.param == "openat2":
        assert openat.openat2_works(), "this kernel has no openat2, and it cannot be tested"
    else:
        monkeypatch.setattr(openat, "openat2_works", lambda: False)
    yield request.param


@pytest.fixture(scope="session")
def bubblewrap() -> BubblewrapSandbox:
    found = find_bubblewrap()
    if isinstance(found, str):
        pytest.fail(f"tier A cannot be tested on this machine: {found}")
    return found


@pytest.fixture
def context(worktree: Path) -> ToolContext:
    return ToolContext(worktree, BareSandbox(), (), tool_environment(worktree), network=NO_NETWORK)


@pytest.fixture
def confined(worktree: Path, bubblewrap: BubblewrapSandbox) -> ToolContext:
    return ToolContext(worktree, bubblewrap, (), tool_environment(worktree), network=NO_NETWORK)


def caller(context: ToolContext) -> Call:
    """`await call("Read", file_path="a")`, as an agent's run does it."""
    tools = toolbox(TOOL_NAMES)

    async def call(tool: str, **inputs: object) -> ToolResult:
        return await tools[tool].run(inputs, context, None)

    return call


@pytest.fixture
def call(context: ToolContext) -> Call:
    return caller(context)
